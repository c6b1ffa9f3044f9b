import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Settings, seconds } from '../app/settings.js';

const declared = [
  { name: 'url', type: 'string', default: 'https://example.com', doc: 'An address.', secret: false, required: false },
  { name: 'timeout', type: 'duration', default: '3s', doc: 'A bound.', secret: false, required: false },
  { name: 'calls', type: 'int', default: '600', doc: 'A budget.', secret: false, required: false },
  { name: 'key', type: 'string', default: '', doc: 'A key.', secret: true, required: false },
];

test('settings that are left out take their defaults', () => {
  for (const text of ['', '{}', '{"timeout":null}']) {
    const settings = new Settings(declared, text);
    assert.equal(settings.get('url'), 'https://example.com');
    assert.equal(settings.get('timeout'), 3);
    assert.equal(settings.get('calls'), 600);
  }
  assert.throws(() => new Settings([{ ...declared[0], required: true }], '{}'), { setting: 'url', message: /is required \(An address\.\)/ });
});

test('settings are refused by name', () => {
  for (const [text, setting, message] of [
    ['null', '', /not a JSON object/],
    ['[]', '', /not a JSON object/],
    ['{"url":"secret"', '', /^settings are not a JSON object$/],
    ['{} {}', '', /not a JSON object/],
    ['{"uri":"x"}', 'uri', /no setting "uri"; there are: url, timeout, calls, key/],
    ['{"__proto__":"x"}', '__proto__', /no setting "__proto__"/],
    ['{"url":7}', 'url', /"url": wants a string, not 7$/],
    ['{"timeout":"3"}', 'timeout', /wants a duration such as "30s", not "3"$/],
    ['{"timeout":"-1s"}', 'timeout', /wants a duration/],
    ['{"timeout":3}', 'timeout', /wants a duration/],
    ['{"calls":1.5}', 'calls', /wants a whole number, not 1.5$/],
    ['{"calls":"7"}', 'calls', /wants a whole number/],
    ['{"calls":true}', 'calls', /wants a whole number/],
    ['{"key":1234567}', 'key', /wants a string$/],
  ]) {
    assert.throws(() => new Settings(declared, text), { kind: 'KIND_INVALID_ARGUMENT', setting, message }, text);
  }
});

test('durations are read as Go reads them', () => {
  for (const [text, want] of [['0', 0], ['3s', 3], ['1m30s', 90], ['1.5h', 5400], ['.5s', 0.5], ['250ms', 0.25], ['2us', 2e-6], ['2µs', 2e-6]]) {
    assert.equal(seconds(text), want, text);
  }
  for (const text of ['', 's', '1', '1 s', '1d', '1s ', '-1s', '1m30', 3, null]) {
    assert.equal(seconds(text), undefined, String(text));
  }
});
