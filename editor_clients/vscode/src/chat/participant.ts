/** `@codellama` in VS Code's chat. Each chat is one conversation of the server. */
import * as vscode from 'vscode';
import type { Session } from '../session';
import { composed, type Attached } from './message';

interface Answer {
  readonly conversation: string;
  readonly finishReason: string;
  readonly droppedMessages: number;
  readonly leftOut: readonly { readonly title: string; readonly why: string }[];
}

interface Metadata {
  readonly conversation: string;
  readonly command?: string | undefined;
}

const NEXT: Readonly<Record<string, readonly vscode.ChatFollowup[]>> = {
  explain: [{ prompt: '', command: 'doc', label: 'Document it' }, { prompt: '', command: 'tests', label: 'Write tests for it' }],
  fix: [{ prompt: '', command: 'tests', label: 'Write tests for it' }],
  tests: [{ prompt: '', command: 'explain', label: 'Explain the code' }],
};

export function registerParticipant(session: Session): vscode.Disposable {
  const participant = vscode.chat.createChatParticipant('codellama.chat', (request, context, stream, token) =>
    answer(session, request, context, stream, token),
  );
  participant.iconPath = new vscode.ThemeIcon('sparkle');
  participant.followupProvider = {
    provideFollowups: (result) => [...(NEXT[(result.metadata as Metadata | undefined)?.command ?? ''] ?? [])],
  };
  return participant;
}

async function answer(
  session: Session,
  request: vscode.ChatRequest,
  context: vscode.ChatContext,
  stream: vscode.ChatResponseStream,
  token: vscode.CancellationToken,
): Promise<vscode.ChatResult> {
  let conversation = before(context.history);
  const tell = (part: unknown): void => {
    const { conversation: of, text } = part as { conversation: string; text: string };
    conversation = of;
    stream.markdown(text);
  };
  const asked = { ...desk(session), text: composed(request.command, request.prompt, attached(request.references)) };
  try {
    const params = conversation ? { ...asked, conversation } : asked;
    const said = await session.stream<Answer>('codellama/chat', params, tell, token);
    conversation = said.conversation;
    for (const note of notes(said)) stream.markdown(`\n\n*${note}*`);
    return result(conversation, request.command);
  } catch (error) {
    if (token.isCancellationRequested) return result(conversation, request.command);
    return { ...result(conversation, request.command), errorDetails: { message: (error as Error).message } };
  }
}

function result(conversation: string, command: string | undefined): vscode.ChatResult {
  return { metadata: { conversation, command } satisfies Metadata };
}

/** The server's id of this conversation, if it has an earlier response. */
function before(history: vscode.ChatContext['history']): string {
  const last = history.findLast((turn) => turn instanceof vscode.ChatResponseTurn);
  return (last?.result.metadata as Metadata | undefined)?.conversation ?? '';
}

/** The document, selection and diagnostics in view. */
function desk(session: Session): object {
  const editor = vscode.window.activeTextEditor;
  if (!editor || !['file', 'untitled', 'vscode-notebook-cell'].includes(editor.document.uri.scheme)) return {};
  const { document, selection } = editor;
  const diagnostics = session.diagnostics(vscode.languages.getDiagnostics(document.uri));
  const range = selection.isEmpty ? {} : { range: session.range(selection) };
  return { textDocument: { uri: document.uri.toString() }, diagnostics, ...range };
}

/** Files attached by hand. What VS Code adds by itself is in the request's context already. */
function attached(references: readonly vscode.ChatPromptReference[]): Attached[] {
  return references
    .filter((one) => !one.id.startsWith('vscode.implicit'))
    .flatMap(({ range, value }) => {
      const uri = value instanceof vscode.Location ? value.uri : value;
      if (!(uri instanceof vscode.Uri)) return [];
      return [{ range, path: vscode.workspace.asRelativePath(uri, false) }];
    });
}

function notes(said: Answer): string[] {
  const found = said.leftOut.map(({ title, why }) => `Not sent to the model: ${title} (${why}).`);
  if (said.finishReason === 'length') found.push('Cut at chat.maxTokens.');
  if (said.droppedMessages > 0) found.push('The beginning of this conversation no longer fits the model\'s context.');
  return found;
}
