// What islands.hcl says in an island's config block, checked against the manifest as strictly as the SDK does.

import { Failure, Kind } from './failure.js';

const units = { ns: 1e-9, us: 1e-6, 'µs': 1e-6, ms: 1e-3, s: 1, m: 60, h: 3600 };
const part = /(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)/g;
const whole = new RegExp(`^(?:${part.source})+$`);

// seconds reads a duration such as "1m30s"; undefined is none.
export function seconds(value) {
  if (value === '0') {
    return 0;
  }
  if (typeof value !== 'string' || !whole.test(value)) {
    return undefined;
  }
  let sum = 0;
  for (const [, n, unit] of value.matchAll(part)) {
    sum += Number(n) * units[unit];
  }
  return sum;
}

// How the types of settings are read, undefined for what is none, and how they are asked for.
const readers = {
  string: [(v) => (typeof v === 'string' ? v : undefined), 'a string'],
  int: [(v) => (Number.isSafeInteger(v) ? v : undefined), 'a whole number'],
  duration: [seconds, 'a duration such as "30s"'],
};

// Settings holds the values by name: strings, numbers, and seconds for durations.
export class Settings {
  // declared are the settings of the manifest, text is the JSON object that the host sends.
  constructor(declared, text) {
    let given;
    try {
      given = JSON.parse(text || '{}');
    } catch {
      given = undefined; // The reason would quote the text, and secrets may stand in it.
    }
    if (given === null || typeof given !== 'object' || Array.isArray(given)) {
      throw new Failure(Kind.INVALID_ARGUMENT, 'settings are not a JSON object');
    }
    for (const name of Object.keys(given).sort()) {
      if (!declared.some((setting) => setting.name === name)) {
        throw refused(name, `no setting ${JSON.stringify(name)}; there are: ${declared.map((s) => s.name).join(', ')}`);
      }
    }
    this.values = new Map(declared.map((setting) => [setting.name, read(setting, given)]));
  }

  get(name) {
    return this.values.get(name);
  }

  // require refuses a value that is of the right type and yet cannot be meant.
  require(name, holds, wanted) {
    if (!holds) {
      throw refused(name, `setting "${name}": wants ${wanted}`);
    }
  }
}

function read({ name, type, default: fallback, doc, secret, required }, given) {
  let value = Object.hasOwn(given, name) ? given[name] : null;
  if (value === null) {
    if (required) {
      throw refused(name, `setting "${name}": is required (${doc})`);
    }
    value = ['int', 'float', 'bool'].includes(type) ? JSON.parse(fallback) : fallback;
  }
  const [reader, wanted] = readers[type];
  const got = reader(value);
  if (got === undefined) {
    throw refused(name, `setting "${name}": wants ${wanted}${secret ? '' : `, not ${JSON.stringify(value).slice(0, 60)}`}`);
  }
  return got;
}

function refused(setting, message) {
  return new Failure(Kind.INVALID_ARGUMENT, message, { setting });
}
