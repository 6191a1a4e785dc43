import type { Command } from 'commander';

export const shells = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof shells)[number];

/** What is to be completed behind one verb. */
interface Verb {
  readonly name: string;
  readonly description: string;
  readonly options: readonly { readonly flag: string; readonly description: string; readonly takesFile: boolean }[];
  /** The first argument is a tunnel, or one of these words. */
  readonly argument: 'tunnel' | readonly string[];
}

/** The completion script of a shell, made from the commands themselves. */
export function completionScript(shell: Shell, program: Command): string {
  const name = program.name();
  const verbs = program.commands.map(verbOf);
  switch (shell) {
    case 'bash':
      return bash(name, verbs);
    case 'zsh':
      return zsh(name, verbs);
    case 'fish':
      return fish(name, verbs);
  }
}

function verbOf(command: Command): Verb {
  const [argument] = command.registeredArguments;
  return {
    name: command.name(),
    description: command.description(),
    options: [
      ...command.options.map(({ long, description, required }) => ({ flag: long ?? '', description, takesFile: required })),
      { flag: '--help', description: 'display help for command', takesFile: false },
    ],
    argument: argument?.name() === 'tunnel' ? 'tunnel' : (argument?.argChoices ?? []),
  };
}

/** Without a daemon there are no names, and nothing is said. */
const tunnelNames = (name: string): string => `${name} status --json 2>/dev/null | sed -n 's/^      "name": "\\([^"]*\\)".*/\\1/p'`;

function bash(name: string, verbs: readonly Verb[]): string {
  const cases = verbs.map((verb) => `    ${verb.name}) words="${[...(verb.argument === 'tunnel' ? ['$(_openvpn_ondemand_tunnels)'] : verb.argument), ...verb.options.map(({ flag }) => flag)].join(' ')}" ;;`);
  return `# bash completion of ${name}: source <(${name} completion bash)
_openvpn_ondemand_tunnels() { ${tunnelNames(name)}; }
_openvpn_ondemand() {
  local current=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD-1]} words
  COMPREPLY=()
  case $previous in ${fileFlags(verbs).join('|')}) compopt -o default; return ;; esac
  if ((COMP_CWORD == 1)); then
    words="${verbs.map((verb) => verb.name).join(' ')} --help --version"
  else
    case \${COMP_WORDS[1]} in
${cases.join('\n')}
    esac
  fi
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}
complete -F _openvpn_ondemand ${name}
`;
}

function zsh(name: string, verbs: readonly Verb[]): string {
  const quoted = (text: string): string => text.replaceAll("'", "'\\''").replaceAll(':', '\\:').replaceAll('[', '\\[').replaceAll(']', '\\]');
  const cases = verbs.map((verb) => {
    const options = verb.options.map(({ flag, description, takesFile }) => `'${flag}[${quoted(description)}]${takesFile ? ':file:_files' : ''}'`);
    const argument = verb.argument === 'tunnel' ? ["'1:tunnel:_openvpn_ondemand_tunnels'"] : verb.argument.length > 0 ? [`'1:word:(${verb.argument.join(' ')})'`] : [];
    return `    ${verb.name}) _arguments ${[...options, ...argument].join(' ')} ;;`;
  });
  return `#compdef ${name}
# zsh completion of ${name}: source <(${name} completion zsh), or as _${name} in a folder of $fpath
_openvpn_ondemand_tunnels() { local -a tunnels=(\${(f)"$(${tunnelNames(name)})"}); compadd -a tunnels }
_openvpn_ondemand() {
  if ((CURRENT == 2)); then
    local -a verbs=(${verbs.map((verb) => `'${verb.name}:${quoted(verb.description)}'`).join(' ')})
    _describe verb verbs
    return
  fi
  shift words; ((CURRENT--))
  case $words[1] in
${cases.join('\n')}
  esac
}
compdef _openvpn_ondemand ${name}
`;
}

function fish(name: string, verbs: readonly Verb[]): string {
  const quoted = (text: string): string => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
  const lines = verbs.flatMap((verb) => {
    const after = `complete -c ${name} -n '__fish_seen_subcommand_from ${verb.name}'`;
    const argument = verb.argument === 'tunnel' ? [`${after} -a '(__openvpn_ondemand_tunnels)'`] : verb.argument.length > 0 ? [`${after} -a '${verb.argument.join(' ')}'`] : [];
    return [
      `complete -c ${name} -n __fish_use_subcommand -a ${verb.name} -d ${quoted(verb.description)}`,
      ...verb.options.map(({ flag, description, takesFile }) => `${after} -l ${flag.slice(2)} -d ${quoted(description)}${takesFile ? ' -r -F' : ''}`),
      ...argument,
    ];
  });
  return `# fish completion of ${name}: ${name} completion fish | source
function __openvpn_ondemand_tunnels; ${tunnelNames(name)}; end
complete -c ${name} -f
${lines.join('\n')}
`;
}

function fileFlags(verbs: readonly Verb[]): string[] {
  return [...new Set(verbs.flatMap(({ options }) => options.filter(({ takesFile }) => takesFile).map(({ flag }) => flag)))];
}
