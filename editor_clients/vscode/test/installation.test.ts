import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { install, Stopped, type Watcher } from '../src/server/installation';
import type { Step } from '../src/server/installing';

const shell = (says: string, script: string): Step => ({ says, command: '/bin/sh', args: ['-c', script] });

/** A folder that an installation may fill, what is told meanwhile, and the way to stop it. */
function place(t: TestContext) {
  const root = mkdtempSync(join(tmpdir(), 'installation-'));
  t.after(() => {
    rmSync(root, { recursive: true });
  });
  const heard: string[] = [];
  const stopping = new AbortController();
  const watcher: Watcher = { signal: stopping.signal, log: (line) => heard.push(line), tell: (text) => heard.push(`[${text}]`) };
  return { root, folder: join(root, 'server'), heard, stopping, watcher };
}

test('steps run in order and report their output', async (t) => {
  const { root, folder, heard, watcher } = place(t);
  await install([shell('Making', `mkdir ${folder}`), shell('Filling', `echo Collecting x >&2; echo y > ${folder}/a`)], folder, watcher);
  assert.deepEqual(heard, ['[Making]', '[Filling]', 'Collecting x', '[Collecting x]']);
  assert.deepEqual([readdirSync(root), readFileSync(join(folder, 'a'), 'utf8')], [['server'], 'y\n']);
});

test('steps run outside the opened folder', async (t) => {
  const { folder, heard, watcher } = place(t);
  await install([shell('Making', 'pwd')], folder, watcher);
  assert.deepEqual(heard, ['[Making]', '/']);
});

test('after a failed step the previous installation is restored', async (t) => {
  const { root, folder, watcher } = place(t);
  mkdirSync(folder);
  writeFileSync(join(folder, 'old'), '');
  const steps = [shell('Making', `mkdir ${folder}; touch ${folder}/new`), shell('Failing', 'echo ERROR: no such thing; exit 1'), shell('Never', `touch ${root}/never`)];
  await assert.rejects(install(steps, folder, watcher), /^Error: no such thing$/);
  assert.deepEqual([readdirSync(root), readdirSync(folder)], [['server'], ['old']]);
});

test('a missing program is reported', async (t) => {
  const { root, folder, watcher } = place(t);
  await assert.rejects(install([{ says: '', command: '/nowhere/python', args: [] }], folder, watcher), /ENOENT/);
  assert.deepEqual(readdirSync(root), []);
});

test('cancelling ends the step’s children and leaves nothing', { timeout: 20_000 }, async (t) => {
  const { root, folder, stopping, watcher } = place(t);
  // The child would write into the folder for ever; it holds the pipe, which closes once it has gone.
  const step = shell('Making', `mkdir ${folder}; (while :; do mkdir -p ${folder}/x; done) & echo begun; wait`);
  const listening: Watcher = {
    ...watcher,
    log: () => {
      stopping.abort();
    },
  };
  await assert.rejects(install([step, shell('Never', `touch ${root}/never`)], folder, listening), Stopped);
  assert.equal(existsSync(folder), false);
  assert.deepEqual(readdirSync(root), []);
});
