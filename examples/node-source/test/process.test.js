import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';

// printed runs a script with the output taken, in a process of its own, and returns what it writes to standard error.
function printed(script) {
  const start = `import { EventEmitter } from 'node:events'; import { log, output } from ${JSON.stringify(new URL('../app/process.js', import.meta.url))};
    const call = () => Object.assign(new EventEmitter(), { got: '', writableNeedDrain: false, ended: false,
      write({ data }) { this.got += data; }, end() { this.ended = true; } });
    output.take(); ${script}`;
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', start], { encoding: 'utf8' });
  assert.equal(status, 0, stderr);
  assert.equal(stdout, ''); // Which is the host's, for the handshake.
  return stderr;
}

test('what is printed waits for the call that carries it', () => {
  assert.equal(printed(`
    console.log('one');
    const first = call(), second = call();
    output.carry(first);
    process.stdout.write(Buffer.from('two\\n'), () => console.error('told'));
    first.emit('cancelled');
    console.log('three');
    output.carry(second);
    second.writableNeedDrain = true;
    console.log('four');
    console.error(first.got + '/' + second.got + '/');
    second.writableNeedDrain = false;
    second.emit('drain');
    output.end();
    console.error(second.got + second.ended);
  `), 'one\ntwo\n/three\n/\nthree\nfour\ntrue\ntold\n');
});

test('a host that does not read costs no more than a megabyte', () => {
  const said = printed(`
    for (let i = 0; i < 40; i += 1) process.stdout.write('x'.repeat(1 << 16));
    const c = call();
    output.carry(c);
    console.error(c.got.length);
  `);
  const [record, length] = said.trim().split('\n');
  assert.equal(length, String(1 << 20));
  const { level, lost_bytes: lost } = JSON.parse(record);
  assert.deepEqual([level, lost], ['WARN', 24 << 16]);
});

test('records below the level of the host are not written', () => {
  process.env.ISLANDS_LOG_LEVEL = 'WARN';
  const records = printed("log('INFO', 'a'); log('WARN', 'b', { n: 1 });").trim().split('\n').map((line) => JSON.parse(line));
  assert.equal(records.length, 1);
  assert.deepEqual([records[0].level, records[0].msg, records[0].n], ['WARN', 'b', 1]);
  assert.ok(!Number.isNaN(Date.parse(records[0].time)));
});
