import assert from 'node:assert/strict';
import { test } from 'node:test';
import { lacksModel, NOTHING, shown, type Status } from '../src/status';

const READY: Status = { ...NOTHING, phase: 'ready', message: 'ready', model: 'codellama-7b', chat_model: 'codellama-7b-instruct' };
const HERE = { off: '', busy: 0 };

test('each state has its text', () => {
  const texts = (status: Partial<Status>, about = {}) => shown({ ...READY, ...status }, { ...HERE, ...about }).text;
  assert.equal(texts({}), '$(sparkle) Code Llama');
  assert.equal(texts({}, { busy: 2 }), '$(loading~spin) Code Llama');
  assert.equal(texts({}, { off: 'x' }), '$(circle-slash) Code Llama: off');
  assert.equal(texts({ phase: 'idle' }), '$(sparkle) Code Llama');
  assert.equal(texts({ phase: 'loading', progress: 40 }), '$(sync~spin) Code Llama 40 %');
  assert.equal(texts({ phase: 'failed', message: 'no GPU' }), '$(error) Code Llama');
  assert.equal(texts({ phase: 'ended' }), '$(error) Code Llama');
  assert.equal(texts({ phase: 'missing' }), '$(warning) Code Llama: set up');
});

test('a model that can be pulled is a warning, not an error', () => {
  const status: Status = { ...READY, phase: 'failed', message: "'starter' is not installed: run `codellama-ls pull starter`." };
  assert.ok(lacksModel(status));
  const drawn = shown(status, HERE);
  assert.deepEqual([drawn.text, drawn.severity], ['$(cloud-download) Code Llama: no model', 'warning']);
});

test('errors are shown even when suggestions are off', () => {
  const drawn = shown({ ...READY, phase: 'failed', message: 'no GPU' }, { ...HERE, off: 'switched off' });
  assert.deepEqual([drawn.text, drawn.lines[0], drawn.severity], ['$(error) Code Llama', 'No GPU', 'error']);
});

test('the hover text lists models, memory, latency and acceptance', () => {
  const today = { shown: 40, accepted: 10, acceptance: 0.25 };
  const about = { ...HERE, latency: 122.4, memory: { resident: 300 * 2 ** 20, gpu: 4.5 * 2 ** 30 } };
  assert.deepEqual(shown({ ...READY, today, limits: 'it does not infill' }, about).lines, [
    'Ready.',
    'Model: codellama-7b',
    'Chat: codellama-7b-instruct',
    'Memory: 300 MiB, GPU 4.5 GiB',
    'Latency today: 122 ms (median)',
    'Today: 40 shown, 10 accepted (25 %)',
    'It does not infill',
  ]);
});

test('no suggestions today: no acceptance rate', () => {
  const today = { shown: 0, accepted: 0, acceptance: null };
  assert.deepEqual(shown({ ...READY, chat_model: '', today }, HERE).lines.slice(2), ['Today: 0 shown, 0 accepted']);
});
