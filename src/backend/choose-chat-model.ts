/** Models that answer no chat, by the words that their names are known by. */
const otherKinds =
  /embed|\bbge\b|\be5\b|\bgte\b|minilm|rerank|whisper|tts|speech|transcribe|audio|realtime|dall-e|image|diffusion|flux|moderation|guard|clip|davinci|babbage|sora/i;
/** Models that can chat, made for something else. */
const specialists = /code|vision|[-:]vl\b|llava|math|medical|sql|-base\b|:text\b|ocr|search/i;

/**
 * The models of a server's list that can chat, best first: the server's own order (most recently
 * used, where it tells), general ones before specialists; the others left out.
 */
export function chatModels(names: readonly string[]): readonly string[] {
  const chatting = names.filter((name) => !otherKinds.test(name));
  return [...chatting.filter((name) => !specialists.test(name)), ...chatting.filter((name) => specialists.test(name))];
}
