#include "broker/metadata/embedded_database.h"

#include <fmt/format.h>
#include <rocksdb/db.h>
#include <rocksdb/iterator.h>
#include <rocksdb/options.h>
#include <rocksdb/write_batch.h>

#include <charconv>
#include <set>

#include "storage/database_logger.h"

namespace millrace::metadata {
namespace {

// A key of the store is kept under "k" + key, as "create mod version lease\nvalue"; the store's revision
// under this.
constexpr std::string_view kRevisionKey = "revision";
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

rocksdb::Options options() {
  rocksdb::Options options;
  options.create_if_missing = true;
  options.write_buffer_size = kWriteBufferBytes;
  options.max_open_files = kOpenFiles;
  options.info_log = storage::silent_database_logger();
  // A start on a full disk needs as little space as possible.
  options.avoid_flush_during_recovery = true;
  // A torn tail is a transaction that nobody was told of. Damage before it would lose what was acknowledged:
  // refuse.
  options.wal_recovery_mode = rocksdb::WALRecoveryMode::kTolerateCorruptedTailRecords;
  return options;
}

}  // namespace

EmbeddedDatabase::EmbeddedDatabase(std::string directory, WriteFailed write_failed)
    : directory_(std::move(directory)), write_failed_(std::move(write_failed)) {}
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
  if (status.IsCorruption()) {
    return fail(ErrorCode::kKafkaStorageError,
                fmt::format("{} is damaged: {}. The topics and their settings are in there; their records, "
                            "beside it, aren't touched. Restore it from a copy and start again",
                            directory_, status.ToString()));
  }
  if (!status.ok()) return storage_error("opening " + directory_, status);
  db_.reset(db);
  must_reopen_ = false;
  return load_revision();
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

Result<> EmbeddedDatabase::write(const std::vector<Event>& events, int64_t revision) {
  rocksdb::WriteBatch batch;
  batch.Put(slice(kRevisionKey), fmt::format("{}", revision));
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
  if (status.ok()) return {};
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
  revision_ = revision;
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
