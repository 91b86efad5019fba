/**
 * Translators of browsers wrap the texts of a page into elements of their own. React then removes or inserts beside a node that is no
 * longer where it put it, which throws and takes the whole page down (facebook/react#11538). With these two methods the step is done
 * at the element that the text was moved into.
 */
const { insertBefore, removeChild } = Node.prototype;

/** The child of `parent` that is the node or holds it; null when there is none. */
function childOf(parent: Node, node: Node | null): Node | null {
  let found = node;
  while (found && found.parentNode !== parent) found = found.parentNode;
  return found;
}

Node.prototype.removeChild = function <T extends Node>(child: T): T {
  const held = childOf(this, child);
  if (held) removeChild.call(this, held);
  return child;
};

Node.prototype.insertBefore = function <T extends Node>(node: T, before: Node | null): T {
  return insertBefore.call(this, node, childOf(this, before)) as T;
};
