/** Draw edits into the text: removed text struck through, new text behind it, commands in a code lens above. */
import * as vscode from 'vscode';
import type { Edit, Edits } from './edits';
import type { Hunk, Span } from './hunks';
import { inline } from './inline';

const REMOVED = vscode.window.createTextEditorDecorationType({
  backgroundColor: new vscode.ThemeColor('diffEditor.removedTextBackground'),
  textDecoration: 'line-through',
});
const ADDED = vscode.window.createTextEditorDecorationType({});
const ADDED_STYLE = {
  color: new vscode.ThemeColor('editor.foreground'),
  backgroundColor: new vscode.ThemeColor('diffEditor.insertedTextBackground'),
};

export class Drawing implements vscode.CodeLensProvider, vscode.Disposable {
  private readonly changed = new vscode.EventEmitter<void>();
  readonly onDidChangeCodeLenses = this.changed.event;
  private readonly registered: vscode.Disposable;

  constructor(private readonly edits: Edits) {
    const draw = (): void => {
      this.draw();
    };
    this.registered = vscode.Disposable.from(
      edits.onDidChange(draw),
      vscode.window.onDidChangeVisibleTextEditors(draw),
      vscode.window.onDidChangeActiveTextEditor(draw),
      vscode.languages.registerCodeLensProvider({ pattern: '**' }, this),
    );
  }

  provideCodeLenses(document: vscode.TextDocument): vscode.CodeLens[] {
    return this.edits.of(document).flatMap((edit) => lenses(edit));
  }

  dispose(): void {
    this.registered.dispose();
    this.changed.dispose();
  }

  private draw(): void {
    for (const editor of vscode.window.visibleTextEditors) {
      const hunks = this.edits.of(editor.document).flatMap((edit) => edit.hunks);
      editor.setDecorations(REMOVED, hunks.map((hunk) => asRange(hunk.range)));
      editor.setDecorations(ADDED, hunks.filter((hunk) => hunk.newText).map((hunk) => added(hunk)));
    }
    const active = vscode.window.activeTextEditor;
    const editing = active !== undefined && this.edits.of(active.document).length > 0;
    void vscode.commands.executeCommand('setContext', 'codellama.editing', editing);
    this.changed.fire();
  }
}

export function asRange({ start, end }: Span): vscode.Range {
  return new vscode.Range(start.line, start.character, end.line, end.character);
}

function added(hunk: Hunk): vscode.DecorationOptions {
  const range = asRange(hunk.range);
  const hover = new vscode.MarkdownString().appendCodeblock(hunk.newText);
  return {
    range: new vscode.Range(range.end, range.end),
    hoverMessage: hover,
    renderOptions: { after: { contentText: inline(hunk.newText), ...ADDED_STYLE } },
  };
}

function lenses(edit: Edit): vscode.CodeLens[] {
  const all = edit.hunks.length;
  const head = edit.writing
    ? [lens(edit.line, `$(sync~spin) ${edit.instruction}`, ''), lens(edit.line, 'Stop', 'edit.rejectAll', edit.id)]
    : [];
  if (edit.writing || all === 0) return head;
  const first = Math.min(...edit.hunks.map((hunk) => hunk.range.start.line));
  return [
    lens(first, `Accept All ${all}`, 'edit.acceptAll', edit.id),
    lens(first, 'Reject All', 'edit.rejectAll', edit.id),
    lens(first, 'Compare', 'edit.diff', edit.id),
    lens(first, 'Change…', 'edit.followUp', edit.id),
    ...edit.hunks.flatMap((hunk) => [
      lens(hunk.range.start.line, '$(check) Accept', 'edit.accept', edit.id, hunk.id),
      lens(hunk.range.start.line, '$(x) Reject', 'edit.reject', edit.id, hunk.id),
    ]),
  ];
}

function lens(line: number, title: string, name: string, ...args: unknown[]): vscode.CodeLens {
  const command = { title, command: name && `codellama.${name}`, arguments: args };
  return new vscode.CodeLens(new vscode.Range(line, 0, line, 0), command);
}
