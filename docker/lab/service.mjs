// The service behind the tunnel: says hello, and who asked.
import { createServer } from 'node:http';

createServer((request, response) => {
  response.end(`hello, ${request.socket.remoteAddress}\n`);
}).listen(8080, '::', () => { console.log('service: listening on 8080'); });
