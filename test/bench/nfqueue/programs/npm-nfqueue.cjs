// npm-nfqueue MODULE QUEUE: the package `nfqueue` of npm as a consumer, accepting at once.
const [module_, num] = process.argv.slice(2);
const nfq = require(module_);
nfq.createQueueHandler(Number(num), 8 << 20, (packet) => packet.setVerdict(nfq.NF_ACCEPT));
process.stdout.write('ready\n');
