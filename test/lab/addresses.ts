/** Who is where in the lab. Documentation and private prefixes only. */
export const addresses = {
  lan: { host: '10.77.1.2', host6: 'fd77:1::2', router: '10.77.1.1', router6: 'fd77:1::1', prefix: '10.77.1.0/24', prefix6: 'fd77:1::/64' },
  underlay: { router: '192.0.2.2', router6: '2001:db8::2', server: '192.0.2.1', server6: '2001:db8::1', prefix: '192.0.2.0/24', prefix6: '2001:db8::/64' },
  tunnel: { server: '10.8.0.1', server6: 'fd00:8::1', client: '10.8.0.2', client6: 'fd00:8::2', prefix: '10.8.0.0/24', prefix6: 'fd00:8::/64' },
  /** Behind the server: what the tunnel protects. */
  service: { host: '10.99.0.1', host6: 'fd00:99::1', server: '10.99.255.254', server6: 'fd00:99::ffff', prefix: '10.99.0.0/16', prefix6: 'fd00:99::/48' },
} as const;

/** Names of the devices, each in the namespace of the same key. */
export const devices = {
  lan: 'eth0',
  router: { lan: 'lan0', underlay: 'wan0' },
  server: { underlay: 'wan0', service: 'svc0', tunnel: 'vpn0' },
  service: 'eth0',
} as const;

/** The port that OpenVPN's server listens on. */
export const serverPort = 1194;
