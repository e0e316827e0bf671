/** Edits by instruction: the server's proposals and the hunks left to decide. Draws nothing. */
import * as vscode from 'vscode';
import type { Session } from '../session';
import { along, type Hunk, type Step } from './hunks';

/** The server's result; partial results are the same without `message`. */
interface Proposal {
  readonly id: string;
  readonly version: number | null;
  readonly hunks: readonly Hunk[];
  readonly message?: string;
  readonly applied?: boolean;
}

/** One edit. `hunks` refer to the current document. */
export interface Edit {
  readonly id: string;
  readonly document: vscode.TextDocument;
  readonly instruction: string;
  readonly line: number;
  hunks: readonly Hunk[];
  writing: boolean;
  steps: Step[];
  stop: vscode.CancellationTokenSource;
}

export class Edits implements vscode.Disposable {
  private readonly open = new Map<string, Edit>();
  private readonly changed = new vscode.EventEmitter<void>();
  readonly onDidChange = this.changed.event;
  private readonly listening = vscode.Disposable.from(
    vscode.workspace.onDidChangeTextDocument((change) => {
      this.typed(change);
    }),
    vscode.workspace.onDidCloseTextDocument((document) => {
      for (const edit of this.of(document)) this.forget(edit);
    }),
  );

  constructor(private readonly session: Session) {}

  /** The edits of a document, oldest first. */
  of(document: vscode.TextDocument): Edit[] {
    return [...this.open.values()].filter((edit) => edit.document === document);
  }

  find(id: string): Edit | undefined {
    return this.open.get(id);
  }

  /** Start an edit; it is drawn while the model writes. */
  async begin(document: vscode.TextDocument, range: vscode.Range, instruction: string): Promise<void> {
    const id = crypto.randomUUID();
    const edit: Edit = {
      id,
      document,
      instruction,
      line: range.start.line,
      hunks: [],
      writing: false,
      steps: [],
      stop: new vscode.CancellationTokenSource(),
    };
    this.open.set(id, edit);
    const where = { textDocument: { uri: document.uri.toString() }, range: this.session.range(range) };
    await this.ask(edit, 'codellama/edit', { ...where, id, instruction });
  }

  /** Ask for another proposal in the same conversation. */
  async follow(edit: Edit, instruction: string): Promise<void> {
    edit.hunks = [];
    await this.ask(edit, 'codellama/edit/followUp', { id: edit.id, instruction });
  }

  /** Accept one hunk, or all. */
  async accept(edit: Edit, hunk?: Hunk): Promise<void> {
    this.take(edit, await this.session.request<Proposal>('codellama/edit/accept', which(edit, hunk)));
  }

  /** Reject one hunk, or all. */
  async reject(edit: Edit, hunk?: Hunk): Promise<void> {
    if (edit.writing) {
      edit.stop.cancel();
      return;
    }
    this.take(edit, await this.session.request<Proposal>('codellama/edit/reject', which(edit, hunk)));
  }

  dispose(): void {
    for (const edit of this.open.values()) edit.stop.cancel();
    this.listening.dispose();
    this.changed.dispose();
  }

  private async ask(edit: Edit, method: string, params: object): Promise<void> {
    edit.stop = new vscode.CancellationTokenSource();
    edit.writing = true;
    this.changed.fire();
    try {
      const draw = (part: unknown): void => {
        this.draw(edit, part as Proposal);
      };
      const found = await this.session.stream<Proposal>(method, params, draw, edit.stop.token);
      edit.writing = false;
      this.take(edit, found);
    } catch (error) {
      this.forget(edit);
      if (!edit.stop.token.isCancellationRequested) throw error;
    } finally {
      edit.writing = false;
      this.changed.fire();
    }
  }

  /** Keep the remaining hunks; without any, end the edit. */
  private take(edit: Edit, proposal: Proposal): void {
    this.draw(edit, proposal);
    if (proposal.message) void vscode.window.showWarningMessage(`Code Llama: ${proposal.message}`);
    if (proposal.hunks.length === 0) this.forget(edit);
  }

  private draw(edit: Edit, proposal: Proposal): void {
    edit.hunks = along(proposal.hunks, proposal.version ?? edit.document.version, edit.steps);
    this.changed.fire();
  }

  private typed({ document, contentChanges }: vscode.TextDocumentChangeEvent): void {
    for (const edit of this.of(document)) {
      const step = { version: document.version, changes: contentChanges };
      edit.steps.push(step);
      edit.hunks = along(edit.hunks, document.version - 1, [step]);
    }
    if (this.of(document).length > 0) this.changed.fire();
  }

  private forget(edit: Edit): void {
    if (!this.open.delete(edit.id)) return;
    edit.stop.cancel();
    void this.session.request('codellama/edit/cancel', { id: edit.id }).catch(() => undefined);
    this.changed.fire();
  }
}

function which(edit: Edit, hunk?: Hunk): object {
  return hunk ? { id: edit.id, hunk: hunk.id } : { id: edit.id };
}
