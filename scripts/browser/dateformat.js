/**
 * The one format that btp-packet asks of the package `dateformat`: `UTC:yyyymmddHHMMss.l'Z'`. The browser builds have it in that
 * package's place, which brings the names of months along.
 */
export default function format(date) {
  return new Date(date).toISOString().replace(/[-:T]/g, '')
}
