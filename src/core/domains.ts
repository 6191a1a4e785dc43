/**
 * The NFQUEUE for packets to addresses of a tunnel's domains that the gate does not know yet, made from that of the tunnel: in
 * the other half of the numbers, so that it stays the same whatever other tunnels there are.
 */
export const domainQueue = (queue: number): number => queue ^ 0x8000;
