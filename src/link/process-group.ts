import { readdirSync, readFileSync } from 'node:fs';

/** Sends a signal to all processes of a group; nothing happens if there are none. */
export function signalGroup(group: number, name: NodeJS.Signals): void {
  try {
    process.kill(-group, name);
  } catch {
    // nobody is there
  }
}

/** Whether a process of the group still runs. Zombies don't: whoever should collect them may take its time. */
export function isGroupAlive(group: number): boolean {
  try {
    process.kill(-group, 0);
  } catch {
    return false;
  }
  return readdirSync('/proc').some((entry) => /^\d+$/.test(entry) && isMember(entry, group));
}

function isMember(pid: string, group: number): boolean {
  try {
    // proc_pid_stat(5): pid (name) state parent group …; the name may hold anything
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const [state, , pgrp] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return Number(pgrp) === group && state !== 'Z' && state !== 'X';
  } catch {
    return false; // it has ended meanwhile
  }
}
