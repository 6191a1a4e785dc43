// A host on the LAN that wants the service every 20 s, which is longer than the tunnel stays: each visit wakes it.
const url = 'http://10.99.0.10:8080/';
for (;;) {
  const start = performance.now();
  try {
    const text = await (await fetch(url, { signal: AbortSignal.timeout(15_000), headers: { connection: 'close' } })).text();
    console.log(`lan host: ${url} answered "${text.trim()}" after ${(performance.now() - start).toFixed(1)} ms`);
  } catch (error) {
    console.log(`lan host: ${url} failed after ${(performance.now() - start).toFixed(1)} ms: ${error.cause?.code ?? error.message}`);
  }
  await new Promise((resolve) => setTimeout(resolve, 20_000));
}
