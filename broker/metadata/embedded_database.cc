#include "broker/metadata/embedded_database.h"

#include <fmt/format.h>
#include <rocksdb/db.h>
#include <rocksdb/iterator.h>
#include <rocksdb/options.h>
#include <rocksdb/write_batch.h>

#include <algorithm>
#include <charconv>
#include <set>

#include "broker/metadata/controller.h"
#include "broker/metadata/metadata_codec.h"
#include "broker/runtime/logging.h"
#include "storage/database_advice.h"
#include "storage/database_logger.h"

namespace millrace::metadata {
namespace {

// A key of the store is kept under "k" + key, as "create mod version lease\nvalue"; the store's revision
// under the first of these, under the other "revision digest", the digest of all entries as they were then.
constexpr std::string_view kRevisionKey = "revision";
constexpr std::string_view kDigestKey = "digest";
constexpr char kKeyMark = 'k';
constexpr size_t kWriteBufferBytes = 4 << 20;
constexpr int kOpenFiles = 64;

std::unexpected<Error> storage_error(std::string_view doing, const rocksdb::Status& status) {
  return fail(ErrorCode::kKafkaStorageError, fmt::format("metadata store, {}: {}", doing, status.ToString()));
}

std::unexpected<Error> closed() {
  return fail(ErrorCode::kKafkaStorageError, "metadata store: closed since a failed write");
}

rocksdb::Slice slice(std::string_view text) { return {text.data(), text.size()}; }
std::string_view view(const rocksdb::Slice& slice) { return {slice.data(), slice.size()}; }
std::string stored_key(std::string_view key) { return kKeyMark + std::string(key); }

std::string stored_value(const KeyValue& entry) {
  return fmt::format("{} {} {} {}\n{}", entry.create_revision, entry.mod_revision, entry.version, entry.lease,
                     entry.value);
}

bool take_number(std::string_view& text, int64_t& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end == text.data() + text.size()) return false;
  text.remove_prefix(static_cast<size_t>(end - text.data()) + 1);  // and the separator
  return true;
}

Result<KeyValue> read_stored(std::string_view key, std::string_view stored) {
  KeyValue entry{.key = std::string(key)};
  if (!take_number(stored, entry.create_revision) || !take_number(stored, entry.mod_revision) ||
      !take_number(stored, entry.version) || !take_number(stored, entry.lease)) {
    return fail(ErrorCode::kKafkaStorageError, fmt::format("metadata store, reading {}: damaged", key));
  }
  entry.value = stored;
  return entry;
}

// The sum of these is the digest of a store: it can be kept up to date, and is another one where an entry is
// missing, came back, or is an older one. FNV-1a, with the end of MurmurHash3, for sums of similar texts.
uint64_t digest_of(std::string_view key, std::string_view stored) {
  uint64_t hash = 0xcbf29ce484222325;
  const auto add = [&](std::string_view text) {
    for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  };
  add(key);
  add(std::string_view("\0", 1));
  add(stored);
  hash = (hash ^ hash >> 33) * 0xff51afd7ed558ccd;
  hash = (hash ^ hash >> 33) * 0xc4ceb9fe1a85ec53;
  return hash ^ hash >> 33;
}

std::string digest_text(int64_t revision, uint64_t digest) {
  return fmt::format("{} {:016x}", revision, digest);
}

std::unexpected<Error> open_failure(const rocksdb::Status& status, const std::string& directory) {
  const std::string text = status.ToString();
  if (status.IsCorruption()) {
    return fail(ErrorCode::kKafkaStorageError,
                fmt::format("{} is damaged: {}. The topics and their settings are in there; their records, "
                            "beside it, aren't touched. Restore it from a copy and start again",
                            directory, text));
  }
  if (const auto advice = storage::advice_on_opening(text); !advice.empty()) {
    return fail(ErrorCode::kKafkaStorageError,
                fmt::format("{} can't be opened: {}; {}", directory, storage::plain_status(text), advice));
  }
  return fail(
      ErrorCode::kKafkaStorageError,
      fmt::format("{} can't be opened: {}. The topics and their settings are in there; their records, "
                  "beside it, aren't touched. See in the kernel's log whether the disk fails. Restore "
                  "it from a copy and start again",
                  directory, storage::plain_status(text)));
}

rocksdb::Options options() {
  rocksdb::Options options;
  options.create_if_missing = true;
  options.write_buffer_size = kWriteBufferBytes;
  options.max_open_files = kOpenFiles;
  options.info_log = storage::silent_database_logger();
  // A start on a full disk needs as little space as possible.
  options.avoid_flush_during_recovery = true;
  // A torn tail may be a transaction that nobody was told of; where it is more, check_for_loss() finds out.
  // Damage before it would lose what was acknowledged: refuse.
  options.wal_recovery_mode = rocksdb::WALRecoveryMode::kTolerateCorruptedTailRecords;
  return options;
}

}  // namespace

EmbeddedDatabase::EmbeddedDatabase(std::string directory, WriteFailed write_failed)
    : directory_(std::move(directory)), write_failed_(std::move(write_failed)), acknowledged_(directory_) {}
EmbeddedDatabase::~EmbeddedDatabase() = default;

Result<std::unique_ptr<EmbeddedDatabase>> EmbeddedDatabase::open(const std::string& directory,
                                                                 WriteFailed write_failed) {
  std::unique_ptr<EmbeddedDatabase> database(new EmbeddedDatabase(directory, std::move(write_failed)));
  if (Result<> opened = database->open_files(); !opened) return std::unexpected(opened.error());
  if (Result<> expired = database->expire_leases(); !expired) return std::unexpected(expired.error());
  return database;
}

// Also after a failed write: RocksDB 7.8 clears the error by itself when there is space again, and then
// asserts at the next write to the write-ahead log that had failed.
Result<> EmbeddedDatabase::open_files() {
  db_.reset();
  must_reopen_ = true;
  rocksdb::DB* db = nullptr;
  const rocksdb::Status status = rocksdb::DB::Open(options(), directory_, &db);
  if (!status.ok()) return open_failure(status, directory_);
  db_.reset(db);
  if (Result<> loaded = load_revision(); !loaded) return loaded;
  if (Result<> checked = check_for_loss(); !checked) return checked;
  must_reopen_ = false;
  return {};
}

Result<> EmbeddedDatabase::load_revision() {
  std::string text;
  const rocksdb::Status status = db_->Get({}, slice(kRevisionKey), &text);
  if (status.IsNotFound()) return {};
  if (!status.ok()) return storage_error("reading the revision", status);
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), revision_);
  if (error != std::errc() || end != text.data() + text.size()) {
    return fail(ErrorCode::kKafkaStorageError, "metadata store, reading the revision: damaged");
  }
  return {};
}

// RocksDB opens without what a write-ahead log has lost at its end, and without a whole one that is gone; and
// not only the latest has what is nowhere else. Of the latest the acknowledged revision tells, of the others
// the digest that came with the last transaction.
Result<> EmbeddedDatabase::check_for_loss() {
  digest_ = 0;
  const std::unique_ptr<rocksdb::Iterator> at(db_->NewIterator({}));
  for (at->Seek(std::string(1, kKeyMark)); at->Valid() && at->key()[0] == kKeyMark; at->Next())
    digest_ += digest_of(view(at->key()), view(at->value()));
  if (!at->status().ok()) return storage_error("reading all", at->status());
  std::string stored;
  const rocksdb::Status status = db_->Get({}, slice(kDigestKey), &stored);
  if (!status.ok() && !status.IsNotFound()) return storage_error("reading the digest", status);
  // One of another revision is from before a broker that stores none.
  const bool has_digest = stored.starts_with(fmt::format("{} ", revision_));

  const int64_t acknowledged = acknowledged_.read();
  std::string missing;
  if (revision_ < acknowledged) {
    missing = fmt::format("it ends with revision {}, and {} was acknowledged", revision_, acknowledged);
  } else if (has_digest && stored != digest_text(revision_, digest_)) {
    missing = fmt::format("what is in it isn't what its last one, of revision {}, left", revision_);
  }
  const std::string accept = fmt::format("{}/{}", directory_, kAcceptLossFile);
  storage::PosixFileSystem files;
  const auto accepted = files.exists(accept);
  if (!accepted) return std::unexpected(accepted.error());
  if (!missing.empty()) {
    if (!*accepted) {
      return fail(
          ErrorCode::kKafkaStorageError,
          fmt::format("{} has lost transactions: {}. Topics and settings may be missing; the records, beside "
                      "it, aren't touched. Restore it from a copy, or put back the file that was removed or "
                      "cut off, and start again. To go on with what is there, create the file {}",
                      directory_, missing, accept));
    }
    if (Result<> done = accept_loss(acknowledged); !done) return done;
    runtime::log_warning("{} goes on with what is there, as {} in it says: {}", directory_, kAcceptLossFile,
                         missing);
  }
  if (!*accepted) return {};
  if (Result<> removed = files.remove(accept); !removed) return removed;
  return files.sync_directory(directory_);
}

// No revision comes twice, and no producer id: partitions would take a new producer's batches for the earlier
// one's. Each block of ids was a transaction of its own, so that there were no more blocks than revisions.
Result<> EmbeddedDatabase::accept_loss(int64_t acknowledged) {
  const int64_t revision = std::max(revision_, acknowledged) + 1;
  const Transaction skip{
      {},
      {Operation::put(std::string(kProducerIdsKey), encode_producer_ids(revision * kProducerIdBlockSize))}};
  const Result<std::vector<Event>> events = stage(skip, revision);
  if (!events) return std::unexpected(events.error());
  return write(*events, revision);
}

Result<> EmbeddedDatabase::expire_leases() {
  Result<RangeResult> all = range("");
  if (!all) return std::unexpected(all.error());
  Transaction expire;
  for (const KeyValue& entry : all->entries) {
    if (entry.lease != kNoLease) expire.operations.push_back(Operation::remove(entry.key));
  }
  if (expire.operations.empty()) return {};
  const Result<Commit> expired = commit(expire);
  return expired ? Result<>{} : std::unexpected(expired.error());
}

Result<std::optional<KeyValue>> EmbeddedDatabase::get(std::string_view key) const {
  if (!db_) return closed();
  std::string stored;
  const rocksdb::Status status = db_->Get({}, slice(stored_key(key)), &stored);
  if (status.IsNotFound()) return std::nullopt;
  if (!status.ok()) return storage_error(fmt::format("reading {}", key), status);
  Result<KeyValue> entry = read_stored(key, stored);
  if (!entry) return std::unexpected(entry.error());
  return std::move(*entry);
}

Result<RangeResult> EmbeddedDatabase::range(std::string_view prefix) const {
  if (!db_) return closed();
  RangeResult result{.revision = revision_};
  const std::string first = stored_key(prefix);
  const std::unique_ptr<rocksdb::Iterator> at(db_->NewIterator({}));
  for (at->Seek(first); at->Valid() && at->key().starts_with(first); at->Next()) {
    Result<KeyValue> entry = read_stored(view(at->key()).substr(1), view(at->value()));
    if (!entry) return std::unexpected(entry.error());
    result.entries.push_back(std::move(*entry));
  }
  if (!at->status().ok()) return storage_error(fmt::format("reading {}*", prefix), at->status());
  return result;
}

Result<bool> EmbeddedDatabase::holds(const Compare& compare) const {
  const Result<std::optional<KeyValue>> found = get(compare.key);
  if (!found) return std::unexpected(found.error());
  const KeyValue entry = found->value_or(KeyValue{});
  switch (compare.target) {
    case Compare::Target::kVersion:
      return entry.version == compare.expected;
    case Compare::Target::kCreateRevision:
      return entry.create_revision == compare.expected;
    case Compare::Target::kModRevision:
      return entry.mod_revision == compare.expected;
  }
  return false;
}

// The events that the operations amount to.
Result<std::vector<Event>> EmbeddedDatabase::stage(const Transaction& transaction, int64_t revision) const {
  std::vector<Event> events;
  std::set<std::string, std::less<>> named;
  const auto name = [&](const std::string& key) -> Result<> {
    if (named.insert(key).second) return {};
    return fail(ErrorCode::kInvalidRequest, "one transaction changes twice the key " + key);
  };
  for (const Operation& operation : transaction.operations) {
    if (operation.kind == Operation::Kind::kDeletePrefix) {
      Result<RangeResult> doomed = range(operation.key);
      if (!doomed) return std::unexpected(doomed.error());
      for (KeyValue& entry : doomed->entries) {
        if (Result<> once = name(entry.key); !once) return std::unexpected(once.error());
        events.push_back({true, {.key = std::move(entry.key), .mod_revision = revision}});
      }
      continue;
    }
    if (Result<> once = name(operation.key); !once) return std::unexpected(once.error());
    Result<std::optional<KeyValue>> old = get(operation.key);
    if (!old) return std::unexpected(old.error());
    if (operation.kind == Operation::Kind::kDelete) {
      if (*old) events.push_back({true, {.key = operation.key, .mod_revision = revision}});
      continue;
    }
    if (operation.lease != kNoLease && !has_lease(operation.lease)) {
      return fail(ErrorCode::kInvalidRequest, "no such lease, for the key " + operation.key);
    }
    KeyValue entry{operation.key, operation.value, revision, revision, 1, operation.lease};
    if (*old) {
      entry.create_revision = (*old)->create_revision;
      entry.version = (*old)->version + 1;
    }
    events.push_back({false, std::move(entry)});
  }
  return events;
}

Result<uint64_t> EmbeddedDatabase::digest_after(const std::vector<Event>& events) const {
  uint64_t digest = digest_;
  std::string stored;
  for (const Event& event : events) {
    const std::string key = stored_key(event.entry.key);
    const rocksdb::Status status = db_->Get({}, key, &stored);
    if (!status.ok() && !status.IsNotFound()) return storage_error("reading " + event.entry.key, status);
    if (status.ok()) digest -= digest_of(key, stored);
    if (!event.is_delete) digest += digest_of(key, stored_value(event.entry));
  }
  return digest;
}

Result<> EmbeddedDatabase::write(const std::vector<Event>& events, int64_t revision) {
  const Result<uint64_t> digest = digest_after(events);
  if (!digest) return std::unexpected(digest.error());
  rocksdb::WriteBatch batch;
  batch.Put(slice(kRevisionKey), fmt::format("{}", revision));
  batch.Put(slice(kDigestKey), digest_text(revision, *digest));
  for (const Event& event : events) {
    if (event.is_delete) {
      batch.Delete(stored_key(event.entry.key));
    } else {
      batch.Put(stored_key(event.entry.key), stored_value(event.entry));
    }
  }
  rocksdb::WriteOptions synced;
  synced.sync = true;
  const rocksdb::Status status = db_->Write(synced, &batch);
  if (status.ok()) {
    revision_ = revision;
    digest_ = *digest;
    acknowledged_.write(revision);
    return {};
  }
  must_reopen_ = true;
  auto failure = storage_error("writing", status);
  if (!status.IsNoSpace() && write_failed_) write_failed_(failure.error());
  return failure;
}

Result<Commit> EmbeddedDatabase::commit(const Transaction& transaction) {
  if (must_reopen_) {
    if (Result<> opened = open_files(); !opened) return std::unexpected(opened.error());
  }
  for (const Compare& compare : transaction.compares) {
    const Result<bool> holding = holds(compare);
    if (!holding) return std::unexpected(holding.error());
    if (!*holding) return Commit{{false, revision_}, {}};
  }
  const int64_t revision = revision_ + 1;
  Result<std::vector<Event>> events = stage(transaction, revision);
  if (!events) return std::unexpected(events.error());
  if (Result<> written = write(*events, revision); !written) return std::unexpected(written.error());
  for (const Event& event : *events) {
    leased_keys_.erase(event.entry.key);
    if (event.entry.lease != kNoLease) leased_keys_.emplace(event.entry.key, event.entry.lease);
  }
  return Commit{{true, revision}, std::move(*events)};
}

LeaseId EmbeddedDatabase::grant_lease() {
  leases_.insert(++last_lease_);
  return last_lease_;
}

Result<Commit> EmbeddedDatabase::revoke_lease(LeaseId lease) {
  Transaction revoke;
  for (const auto& [key, owner] : leased_keys_) {
    if (owner == lease) revoke.operations.push_back(Operation::remove(key));
  }
  if (leases_.erase(lease) == 0 || revoke.operations.empty()) return Commit{{true, revision_}, {}};
  return commit(revoke);
}

}  // namespace millrace::metadata
