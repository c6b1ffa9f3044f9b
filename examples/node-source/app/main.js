// node-source: an island of Service Islands in JavaScript, with Node's own modules and gRPC.

import { output, startedByHost } from './process.js';

const manifest = {
  name: 'node-source',
  version: '1.0.0',
  layer: 'external_services',
  description: 'Quotes and candles from Binance Spot, by an island written in JavaScript.',
  protocol: { major: 1, minor: 2 },
  roles: ['quotes', 'candles'],
  settings: [
    {
      name: 'url', type: 'string', default: 'https://data-api.binance.vision',
      doc: 'Base URL of the REST API, without /api/v3.', secret: false, required: false,
    },
    {
      name: 'timeout', type: 'duration', default: '3s',
      doc: 'Bound on one attempt, reading the reply included; 50ms to 1m.', secret: false, required: false,
    },
    {
      name: 'calls_per_minute', type: 'int', default: '600',
      doc: 'Most calls in any minute; 4 to 1000000.', secret: false, required: false,
    },
  ],
};

async function main(args) {
  if (args.length === 1 && args[0] === 'describe') {
    console.log(JSON.stringify(manifest, null, 2));
  } else if (args.length > 0) {
    console.error(`node-source: unknown arguments ${JSON.stringify(args)}; the only one is "describe", which prints the manifest`);
    process.exitCode = 2;
  } else if (!startedByHost()) {
    console.log(`node-source ${manifest.version}: ${manifest.description}`);
    console.log('This is an island of Service Islands. It does nothing by itself: name it in islands.hcl and start the host');
    console.log('with "islands run". "node-source describe" prints its manifest.');
  } else {
    output.take(); // From here on standard output is the host's.
    const [{ serve }, { Source }] = await Promise.all([import('./contract.js'), import('./binance.js')]); // Only who serves needs gRPC.
    await serve(manifest, (settings, name) => new Source(settings, name));
  }
}

main(process.argv.slice(2));
