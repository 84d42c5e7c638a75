/**
 * The types that users of the package name: hosts, wallets, authors of modules and stores.
 */
export type { JsonValue } from './btp/protocol-data.js'
export type { HostLog, LogLevel, Logger } from './core/log.js'
export type { Batch, KeyValueStore, ListOptions, Store } from './core/store.js'
export type { Acceptor, Connection, ConnectionEvents, ListenerOptions } from './core/transport.js'
export type {
  AnswerPacket, ErrorPacket, FulfillPacket, MessagePacket, Packet, PreparePacket, RejectPacket, RequestPacket, ResponsePacket, SubProtocol,
  TransferPacket
} from './btp/packets.js'
export type { Backend, MaxValueTrackerOptions, TransferLogOptions } from './ledger/backend.js'
export type { MaxValueEntry, MaxValueTracker } from './ledger/max-value-tracker.js'
export type { LoggedTransfer, TransferWithInfo } from './ledger/records.js'
export type { TransferLog } from './ledger/transfer-log.js'
export type { TransferState } from './ledger/stages.js'
export type { BalanceDispute, Dispute, ObservedPacket, PluginEvents, Role } from './plugin/account.js'
export type * from './plugin/lpi.js'
export type { PluginClass } from './plugin/make-plugin.js'
export type { PaymentChannelModule, PluginContext } from './plugin/module.js'
export type { Credentials, PluginOptions, PluginServices } from './plugin/options.js'
export type { HistoryEntry, HistoryOptions, InFlightTransfer, LedgerPlugin } from './plugin/plugin.js'
export type { Rpc, RpcMethod } from './plugin/rpc.js'
export type { IndexedDBStoreOptions, Persistence } from './store/indexed-db.js'
