/** A row of a server's list, by the names of its header. */
export type StatusRow = Readonly<Record<string, string>>;

/** What `status 3` says; names and units as OpenVPN has them. */
export type Status =
  | { readonly role: 'client'; readonly updated: string; /** `TUN/TAP read bytes`, … */ readonly counters: Readonly<Record<string, number>> }
  | { readonly role: 'server'; readonly title: string; /** Seconds since 1970. */ readonly time: number; readonly clients: readonly StatusRow[]; readonly routes: readonly StatusRow[]; readonly global: StatusRow };

/** The reply to `status 3`, on a client as on a server; never throws, since newer versions add lines. */
export function decodeStatus(lines: readonly string[]): Status {
  return lines[0]?.startsWith('TITLE') === true ? server(lines) : client(lines);
}

function client(lines: readonly string[]): Status {
  let updated = '';
  const counters: Record<string, number> = {};
  for (const line of lines) {
    const comma = line.lastIndexOf(',');
    if (line.startsWith('Updated,')) updated = line.slice('Updated,'.length);
    else if (comma >= 0) counters[line.slice(0, comma)] = Number(line.slice(comma + 1));
  }
  return { role: 'client', updated, counters };
}

function server(lines: readonly string[]): Status {
  const headers = new Map<string, string[]>();
  const rows = new Map<string, StatusRow[]>();
  const global: Record<string, string> = {};
  let title = '';
  let time = 0;
  for (const line of lines) {
    const [kind = '', ...values] = line.split('\t');
    if (kind === 'TITLE') title = values.join('\t');
    else if (kind === 'TIME') time = Number(values[1]);
    else if (kind === 'HEADER') headers.set(values[0] ?? '', values.slice(1));
    else if (kind === 'GLOBAL_STATS') global[values[0] ?? ''] = values[1] ?? '';
    else {
      const list = rows.get(kind) ?? [];
      list.push(Object.fromEntries((headers.get(kind) ?? []).map((name, at) => [name, values[at] ?? ''])));
      rows.set(kind, list);
    }
  }
  return { role: 'server', title, time, clients: rows.get('CLIENT_LIST') ?? [], routes: rows.get('ROUTING_TABLE') ?? [], global };
}
