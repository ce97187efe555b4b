/** JSON text in which a Float32Array is a list of numbers. Non-finite numbers become null, which a node refuses by name. */
export function jsonBody(value: unknown): string {
  return JSON.stringify(value, (_key, member: unknown) =>
    member instanceof Float32Array ? Array.from(member) : member,
  );
}
