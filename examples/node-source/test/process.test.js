import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';

// printed runs a script with the output taken, in a process of its own, and returns what it writes to standard error.
function printed(script) {
  const start = `import { EventEmitter } from 'node:events'; import { log, output } from ${JSON.stringify(new URL('../app/process.js', import.meta.url))};
    const call = () => Object.assign(new EventEmitter(), { got: '', pieces: 0, writableNeedDrain: false, ended: false,
      write({ data }) { this.got += data; this.pieces += 1; }, end() { this.ended = true; } });
    output.take(); ${script}`;
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--expose-gc', '--input-type=module', '-e', start], { encoding: 'utf8' });
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

test('a host that does not read costs no more for output in small pieces', () => {
  const [grown, pieces, same, order] = printed(`
    const held = () => { gc(); const { heapUsed, external } = process.memoryUsage(); return heapUsed + external; };
    const before = held();
    for (let i = 0; i < 1 << 20; i += 1) process.stdout.write(String(i % 10));
    const grown = held() - before;
    if (grown > 8 << 20) throw new Error('a megabyte in pieces of one byte takes ' + grown + ' bytes');
    const c = call();
    output.carry(c);
    console.error(grown);
    console.error(c.pieces);
    console.error(c.got === Array.from({ length: 1 << 20 }, (_, i) => i % 10).join(''));
    const slow = Object.assign(call(), { write({ data }) { this.got += data; this.writableNeedDrain = true; } });
    output.carry(slow);
    let all = '';
    for (let i = 0; i < 100000; i += 1) {
      process.stdout.write(i + ',');
      all += i + ',';
      if (i % 1000 === 0) { slow.writableNeedDrain = false; slow.emit('drain'); }
    }
    while (slow.writableNeedDrain && slow.got.length < all.length) { slow.writableNeedDrain = false; slow.emit('drain'); }
    console.error(slow.got === all);
  `).trim().split('\n');
  assert.ok(Number(grown) < 8 << 20, grown);
  assert.equal(pieces, '16');
  assert.equal(same, 'true');
  assert.equal(order, 'true'); // Whatever is read between two prints.
});

test('records below the level of the host are not written', () => {
  process.env.ISLANDS_LOG_LEVEL = 'WARN';
  const records = printed("log('INFO', 'a'); log('WARN', 'b', { n: 1 });").trim().split('\n').map((line) => JSON.parse(line));
  assert.equal(records.length, 1);
  assert.deepEqual([records[0].level, records[0].msg, records[0].n], ['WARN', 'b', 1]);
  assert.ok(!Number.isNaN(Date.parse(records[0].time)));
});
