import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { find } from '../src/server/finding';

const there = (...files: string[]) => (file: string): boolean => files.includes(file);
const PLACES = { setting: '', path: '/usr/bin:/opt/bin', own: '/home/me/server' };
const OWN = '/home/me/server/bin/codellama-ls';

test('the setting comes first, then PATH, then the set-up environment', () => {
  const all = there('/my/ls', '/opt/bin/codellama-ls', OWN);
  assert.deepEqual(find({ ...PLACES, setting: '/my/ls' }, all), { command: '/my/ls', from: 'setting' });
  assert.deepEqual(find(PLACES, all), { command: '/opt/bin/codellama-ls', from: 'path' });
  assert.deepEqual(find(PLACES, there(OWN)), { command: OWN, from: 'own' });
  assert.equal(find(PLACES, there()), undefined);
});

test('a setting that names no program is an error', () => {
  assert.throws(() => find({ ...PLACES, setting: '/my/ls' }, there(OWN)), /names '\/my\/ls', which can't be run/);
  assert.throws(() => find({ ...PLACES, setting: 'ls' }, there(OWN)), /must be an absolute path, not 'ls'/);
});

test('relative folders of PATH are ignored', () => {
  // An entry "." or an empty one of PATH would be the workspace: what lies there is somebody else's.
  assert.equal(find({ ...PLACES, path: ':.:bin' }, () => true)?.from, 'own');
});

test('a file that is not executable is no program', () => {
  const folder = mkdtempSync(join(tmpdir(), 'finding-'));
  const file = join(folder, 'codellama-ls');
  writeFileSync(file, '#!/bin/sh\n');
  chmodSync(file, 0o644);
  assert.equal(find({ ...PLACES, path: folder }), undefined);
  chmodSync(file, 0o755);
  assert.deepEqual(find({ ...PLACES, path: folder }), { command: file, from: 'path' });
  rmSync(file);
  mkdirSync(file);
  assert.equal(find({ ...PLACES, path: folder }), undefined);
  rmSync(folder, { recursive: true });
});
