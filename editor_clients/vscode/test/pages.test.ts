import assert from 'node:assert/strict';
import { test } from 'node:test';
import { choices, type Model } from '../src/server/catalogue';
import { isNewEnough, progress, reason, steps } from '../src/server/installing';
import { statisticsPage, type Group } from '../src/statistics';
import { explained, page, type Trace } from '../src/why';

const TRACE: Trace = {
  uri: 'file:///p/a%20b.py', line: 4, invoked: false, at: '2026-11-22T10:11:12.345+00:00', result: 'refused',
  reason: 'the cursor stands within a word', source: '', filter: '', total_ms: 0.4, shown: 0,
};
const SHOWN: Trace = { ...TRACE, result: 'shown', reason: '', source: 'typed', filter: 'a|b', shown: 12, total_ms: 7.6 };

test('the reason of the document’s last request', () => {
  assert.equal(explained([SHOWN, TRACE], TRACE.uri), 'Nothing was shown on line 5: the cursor stands within a word.');
  const answered = 'The last request, on line 5, was answered: the rest of what was shown; changed by a|b.';
  assert.equal(explained([TRACE, SHOWN], TRACE.uri), answered);
  assert.match(explained([TRACE], 'file:///other.py'), /^No suggestion was requested/);
});

test('all requests in a table, newest first, with escaped text', () => {
  assert.deepEqual(page([TRACE, SHOWN]).split('\n').slice(4, 6), [
    '| 10:11:12 | a b.py:5 | typing | 12 characters | the rest of what was shown; changed by a\\|b | 8 |',
    '| 10:11:12 | a b.py:5 | typing | none: refused | the cursor stands within a word | 0 |',
  ]);
});

test('the statistics in a table', () => {
  const group: Group = {
    shown: 8, accepted: 2, acceptance: 0.25, partly_accepted: 1, typed_through: 3, kept_share: null,
    characters_saved: 90, latency_ms: { p50: 66.6, p95: 206 },
  };
  const empty: Group = { ...group, shown: 0, accepted: 0, acceptance: null, latency_ms: null };
  const rows = statisticsPage({ days: 30, all: group, today: empty, languages: { python: group } }).split('\n');
  assert.equal(rows[4], '| **In all** | 8 | 2 (25 %) | 1 | 3 |  | 90 | 67 ms | 206 ms |');
  assert.equal(rows[5], '| Today | 0 | 0 | 1 | 3 |  | 90 |  |  |');
  assert.ok(rows[6]?.startsWith('| python | 8 '));
});

const MODEL: Model = {
  id: 'starter', title: 'SmolLM2', infill: true, chat: 'chatml', licence: 'Apache-2.0', installed: true,
  fits: true, fits_when_idle: true, nf4_bytes: 116_413_056,
};

test('models to choose from: installed first, without those that do not fit or cannot chat', () => {
  const base: Model = { ...MODEL, id: 'codellama-7b', chat: null, installed: false };
  const large: Model = { ...MODEL, id: 'codellama-70b', fits: false, fits_when_idle: false, installed: false };
  const labels = choices([base, large, MODEL], 'completion', 'starter').map((one) => one.label);
  assert.deepEqual(labels, ['$(check) starter', '$(cloud-download) codellama-7b']);
  assert.deepEqual(choices([base, large, MODEL], 'chat', '').map((one) => one.label), ['$(circle-outline) starter']);
  assert.equal(choices([{ ...MODEL, infill: false }], 'completion', '')[0]?.detail, '0.1 GB of weights in 4 bits · Apache-2.0 · continues, but does not infill');
});

test('a model that fits after unloading can be chosen; unknown models have no invented figures', () => {
  const full: Model = { ...MODEL, id: 'codellama-13b', fits: false };
  const details = (model: Model) => choices([model], 'completion', '').map((one) => one.detail);
  assert.deepEqual(details(full), ['0.1 GB of weights in 4 bits · Apache-2.0 · needs more memory than is free now']);
  const unknown: Model = { id: 'mine', title: null, infill: null, chat: null, licence: null, installed: true, fits: false, nf4_bytes: null };
  assert.deepEqual(details(unknown), ['needs more memory than is free now']);
});

test('the set-up creates an environment and uses no index with given wheels', () => {
  const [make, install] = steps('python3', '/own', { what: 'codellama-ls', wheels: '/wheels' });
  assert.deepEqual([make?.command, make?.args], ['python3', ['-I', '-m', 'venv', '--clear', '/own']]);
  assert.equal(install?.command, '/own/bin/python');
  assert.deepEqual(install.args.slice(-4), ['--no-index', '--find-links', '/wheels', 'codellama-ls']);
  assert.ok(!steps('python3', '/own', { what: '/src' })[1]?.args.includes('--no-index'));
});

test('a Python that is too old is refused', () => {
  const versions = ['Python 3.11.0', 'Python 3.10.14', 'Python 4.0.0', 'Python 2.7.18', ''];
  assert.deepEqual(versions.map(isNewEnough), [true, false, true, false, false]);
});

test('pip’s output becomes progress text', () => {
  assert.equal(progress('Collecting torch<3,>=2.11 (from codellama-ls)'), 'Collecting torch<3,>=2.11');
  assert.equal(progress('  Downloading https://a.example/b/torch-2.11-cp311.whl (900 MB)'), 'Downloading torch-2.11-cp311.whl');
  assert.equal(progress('Installing collected packages: a, b'), 'Installing collected packages');
  assert.equal(progress('Requirement already satisfied: pip'), '');
});

test('the reason of a failed step: pip’s errors, Debian’s missing venv, else the last lines', () => {
  const pip = ['Looking in links: /w', 'ERROR: Could not find a version', 'ERROR: No matching distribution found for x', '[notice] a new pip'];
  assert.equal(reason(pip), 'Could not find a version No matching distribution found for x');
  assert.match(reason(['The virtual environment was not created because ensurepip is not available.', '', 'Failing command: x']), /python3-venv/);
  assert.equal(reason(['a', 'b', 'c', 'd']), 'b c d');
  assert.equal(reason([]), 'It failed without an error message.');
});
