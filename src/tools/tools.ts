export { openToolRoom, type ToolRoomOptions } from './open-tool-room.ts';
export type { ServerTool, ToolContext, ToolCredential, ToolOutcome, ToolRoom, ToolSet } from './port.ts';
