import assert from 'node:assert/strict';
import { test } from 'node:test';
import { composed } from '../src/chat/message';

test('a slash command becomes the server’s task', () => {
  assert.equal(composed('explain', '', []), '/explain');
  assert.equal(composed('fix', ' the loop ', []), '/fix the loop');
  assert.equal(composed(undefined, 'Hello', []), 'Hello');
});

test('files named in the prompt become mentions in place', () => {
  const attached = [
    { range: [8, 18] as const, path: 'src/a b.py' },
    { range: [23, 33] as const, path: 'c.py' },
  ];
  assert.equal(composed(undefined, 'Compare #file:a.py and #file:c.py', attached), 'Compare #file:"src/a b.py" and #file:"c.py"');
});

test('files attached beside the prompt are added once each', () => {
  const attached = [{ path: 'a.py' }, { path: 'a.py' }, { path: 'b.py' }];
  assert.equal(composed(undefined, 'Why?', attached), 'Why? #file:"a.py" #file:"b.py"');
});

test('a quote in a file name is escaped', () => {
  assert.equal(composed(undefined, 'Why?', [{ path: 'a" #open.py' }]), 'Why? #file:"a #open.py"');
});
