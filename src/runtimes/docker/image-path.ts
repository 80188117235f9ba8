/** `/images/NAME`: a name's slashes stand for themselves. */
export function imagePath(name: string): string {
  return `/images/${name.split('/').map(encodeURIComponent).join('/')}`;
}
