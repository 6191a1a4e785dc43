import { getPriority, setPriority } from 'node:os';

/** This process is more urgent at times, and what it starts then would be so for its life. */
const usual = getPriority();

/** Gives what was just started the priority that this process had at first. */
export function withUsualPriority<Child extends { readonly pid?: number | undefined }>(child: Child): Child {
  try {
    if (child.pid !== undefined) setPriority(child.pid, usual);
  } catch {
    // it has ended already, or has other rights than we
  }
  return child;
}
