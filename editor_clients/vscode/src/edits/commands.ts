/** Commands for edits: start, accept, reject, compare, follow up. */
import * as vscode from 'vscode';
import { told } from '../told';
import type { Edit, Edits } from './edits';
import { asRange } from './drawing';
import { applied, nearest, type Hunk, type Span } from './hunks';

const PROPOSED = 'codellama-proposed';

/** Arguments of the server's code action. */
interface Where {
  readonly uri: string;
  readonly range: Span;
}

export function registerEdits(edits: Edits): vscode.Disposable {
  const at = (use: (edit: Edit, hunk?: Hunk) => unknown) => told((id?: string, hunk?: number) => use(...chosen(edits, id, hunk)));
  const all = (use: (edit: Edit) => unknown) => told((id?: string) => use(chosen(edits, id)[0]));
  const handlers = {
    editWithInstruction: told((where?: Where) => begin(edits, where)),
    'edit.accept': at((edit, hunk) => edits.accept(edit, hunk)),
    'edit.reject': at((edit, hunk) => edits.reject(edit, hunk)),
    'edit.acceptAll': all((edit) => edits.accept(edit)),
    'edit.rejectAll': all((edit) => edits.reject(edit)),
    'edit.diff': all((edit) => compare(edit)),
    'edit.followUp': all((edit) => followUp(edits, edit)),
  };
  return vscode.Disposable.from(
    ...Object.entries(handlers).map(([name, handler]) => vscode.commands.registerCommand(`codellama.${name}`, handler)),
    vscode.workspace.registerTextDocumentContentProvider(PROPOSED, {
      provideTextDocumentContent: (uri) => proposed(edits.find(uri.query)),
    }),
  );
}

async function begin(edits: Edits, where?: Where): Promise<void> {
  const editor = vscode.window.activeTextEditor;
  if (!editor) throw new Error('Open a document first. An edit starts at its cursor.');
  const named = typeof where?.uri === 'string' && 'range' in where;
  const document = named ? await vscode.workspace.openTextDocument(vscode.Uri.parse(where.uri)) : editor.document;
  const range = named ? asRange(where.range) : editor.selection;
  const instruction = await ask('What should change?', 'add a docstring');
  if (instruction) await edits.begin(document, range, instruction);
}

async function followUp(edits: Edits, edit: Edit): Promise<void> {
  const instruction = await ask('What else should change?', 'shorter names');
  if (instruction) await edits.follow(edit, instruction);
}

function ask(prompt: string, placeHolder: string): Thenable<string | undefined> {
  return vscode.window.showInputBox({ title: 'Code Llama: edit with instruction', prompt, placeHolder });
}

/** Resolve a call without arguments, as from a key: the hunk of the active document nearest to the cursor. */
function chosen(edits: Edits, id?: string, number?: number): [Edit, Hunk | undefined] {
  const editor = vscode.window.activeTextEditor;
  const here = typeof id === 'string' ? edits.find(id) : editor && edits.of(editor.document).at(-1);
  if (!here) throw new Error('This edit session has ended.');
  const hunk = typeof id === 'string' ? here.hunks.find((one) => one.id === number) : undefined;
  return [here, hunk ?? nearest(here.hunks, editor?.selection.active.line ?? 0)];
}

async function compare(edit: Edit): Promise<void> {
  const { uri } = edit.document;
  const other = vscode.Uri.from({ scheme: PROPOSED, path: uri.path, query: edit.id });
  await vscode.commands.executeCommand('vscode.diff', uri, other, `${edit.instruction} (proposed)`);
}

function proposed(edit: Edit | undefined): string {
  if (!edit) return '';
  const { document } = edit;
  return applied(document.getText(), edit.hunks, (place) => document.offsetAt(new vscode.Position(place.line, place.character)));
}
