import assert from 'node:assert/strict';
import { test } from 'node:test';
import { forServer, toggled, whyOff } from '../src/settings';

test('the server gets its sections only', () => {
  assert.deepEqual(forServer((section) => ({ of: section })), {
    completion: { of: 'completion' },
    chat: { of: 'chat' },
    actions: { of: 'actions' },
    engine: { of: 'engine' },
    statistics: { of: 'statistics' },
  });
});

test('why suggestions are off, the widest reason first', () => {
  assert.equal(whyOff(false, ['python'], 'python', true), 'suggestions are switched off');
  assert.equal(whyOff(true, ['python'], 'python', true), 'suggestions are switched off for python');
  assert.equal(whyOff(true, ['python'], 'lua', true), 'suggestions are switched off for this file');
  assert.equal(whyOff(true, ['python'], 'lua', false), '');
});

test('switching twice changes nothing', () => {
  assert.deepEqual(toggled(['lua'], 'python'), ['lua', 'python']);
  assert.deepEqual(toggled(toggled(['lua'], 'python'), 'python'), ['lua']);
});
