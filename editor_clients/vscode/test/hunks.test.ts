import assert from 'node:assert/strict';
import { test } from 'node:test';
import { along, applied, nearest, type Change, type Hunk, type Place, type Span } from '../src/edits/hunks';
import { inline } from '../src/edits/inline';

const span = (line: number, start: number, last: number, end: number): Span => ({
  start: { line, character: start },
  end: { line: last, character: end },
});
const hunk = (id: number, range: Span, newText = 'x'): Hunk => ({ id, range, newText });
const change = (range: Span, text: string): Change => ({ range, text });

test('lines changed above move a hunk, lines below do not', () => {
  const one = hunk(0, span(5, 2, 5, 4));
  const steps = [{ version: 2, changes: [change(span(8, 0, 8, 0), 'below\n'), change(span(1, 0, 1, 0), 'a\nb\n')] }];
  assert.deepEqual(along([one], 1, steps), [hunk(0, span(7, 2, 7, 4))]);
  assert.deepEqual(along([one], 1, [{ version: 2, changes: [change(span(0, 0, 3, 0), '')] }]), [hunk(0, span(2, 2, 2, 4))]);
});

test('text typed before the proposal does not count', () => {
  const steps = [{ version: 3, changes: [change(span(0, 0, 0, 0), '\n')] }];
  assert.deepEqual(along([hunk(0, span(5, 0, 5, 1))], 3, steps), [hunk(0, span(5, 0, 5, 1))]);
});

test('a hunk whose lines are touched is dropped, the others stay', () => {
  const hunks = [hunk(0, span(1, 0, 2, 0)), hunk(1, span(9, 0, 9, 0))];
  assert.deepEqual(along(hunks, 1, [{ version: 2, changes: [change(span(2, 5, 2, 5), '!')] }]), [hunks[1]]);
});

test('hunks are applied in any order', () => {
  const text = 'a = foo\nreturn a\n';
  const offset = ({ line, character }: Place): number => (line === 0 ? character : 8 + character);
  const hunks = [hunk(0, span(0, 4, 0, 7), '1'), hunk(1, span(1, 8, 1, 8), ' + x')];
  assert.equal(applied(text, hunks, offset), 'a = 1\nreturn a + x\n');
  assert.equal(applied(text, hunks.toReversed(), offset), 'a = 1\nreturn a + x\n');
});

test('the nearest hunk to a line', () => {
  const hunks = [hunk(0, span(1, 0, 3, 0)), hunk(1, span(9, 0, 9, 0))];
  assert.deepEqual([0, 2, 6, 7, 20].map((line) => nearest(hunks, line)?.id), [0, 0, 0, 1, 1]);
  assert.equal(nearest([], 3), undefined);
});

test('new text on one line, with its blanks kept and its length bounded', () => {
  assert.equal(inline('a\r\n\tb'), 'a⏎\u00a0\u00a0\u00a0\u00a0b');
  assert.equal(inline('x'.repeat(200)).length, 160);
});
