import {
  AbstractChat,
  DefaultChatTransport,
  lastAssistantMessageIsCompleteWithApprovalResponses,
  type ChatState,
  type UIMessage,
} from 'ai';

/** What `useChat` keeps in the state of React, kept in memory. */
class MemoryState implements ChatState<UIMessage> {
  status: ChatState<UIMessage>['status'] = 'ready';
  error: Error | undefined;
  messages: UIMessage[] = [];

  pushMessage(message: UIMessage): void {
    this.messages = [...this.messages, message];
  }

  popMessage(): void {
    this.messages = this.messages.slice(0, -1);
  }

  replaceMessage(index: number, message: UIMessage): void {
    this.messages = this.messages.with(index, structuredClone(message));
  }

  snapshot<T>(thing: T): T {
    return structuredClone(thing);
  }
}

/** The chat that `useChat` drives, with the AI SDK's own code; answers to requests for approval are sent by themselves. */
export class UiChat extends AbstractChat<UIMessage> {
  constructor(id: string, to: { readonly url: string; readonly apiKey: string }, model: string) {
    const headers = { authorization: `Bearer ${to.apiKey}` };
    super({
      id,
      state: new MemoryState(),
      transport: new DefaultChatTransport({ api: `${to.url}/v1/ui/chat`, headers, body: { model } }),
      sendAutomaticallyWhen: lastAssistantMessageIsCompleteWithApprovalResponses,
    });
  }

  /** Says it and waits for the answer. @throws Error as the chat shows it */
  async say(text: string, messageId?: string): Promise<void> {
    await this.sendMessage({ text, ...(messageId === undefined ? {} : { messageId }) });
    this.#mustBeWell();
  }

  /** Makes the newest answer, or the named one, anew. @throws Error as the chat shows it */
  async sayAgain(messageId?: string): Promise<void> {
    await this.regenerate(messageId === undefined ? {} : { messageId });
    this.#mustBeWell();
  }

  /** Answers the requests for approval of the newest message, and waits for what comes of it. @throws Error as the chat shows it */
  async answer(approved: boolean, reason?: string): Promise<void> {
    for (const part of this.lastMessage?.parts ?? []) {
      if (part.type !== 'dynamic-tool' || part.state !== 'approval-requested') continue;
      await this.addToolApprovalResponse({
        id: part.approval.id,
        approved,
        ...(reason === undefined ? {} : { reason }),
      });
    }
    await this.settled();
  }

  /** Until nothing is under way. @throws Error as the chat shows it */
  async settled(): Promise<void> {
    // What it sends by itself begins a few ticks later.
    do await new Promise((resolve) => setTimeout(resolve, 20));
    while (this.status === 'submitted' || this.status === 'streaming');
    this.#mustBeWell();
  }

  #mustBeWell(): void {
    if (this.error !== undefined) throw this.error;
  }
}

/** What a message says. */
export const textOf = ({ parts }: UIMessage): string =>
  parts.map((part) => (part.type === 'text' ? part.text : '')).join('');
