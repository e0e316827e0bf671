/** Commands whose errors become messages. */
import * as vscode from 'vscode';

export type Handler = (...args: never[]) => unknown;

/** Wrap `handler`: show its error to the user. */
export function told<A extends unknown[]>(handler: (...args: A) => unknown): (...args: A) => Promise<unknown> {
  return async (...args) => {
    try {
      return await handler(...args);
    } catch (error) {
      void vscode.window.showErrorMessage(`Code Llama: ${(error as Error).message}`);
      return undefined;
    }
  };
}
