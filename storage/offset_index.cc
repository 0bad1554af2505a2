#include "storage/offset_index.h"

#include <fmt/format.h>
#include <rocksdb/cache.h>
#include <rocksdb/db.h>
#include <rocksdb/env.h>
#include <rocksdb/options.h>
#include <rocksdb/table.h>
#include <rocksdb/write_batch.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>

#include "storage/database_advice.h"
#include "storage/database_logger.h"

namespace millrace::storage {
namespace {

// Keys: topic id (16), partition (4), kind (1), base offset (8), and then, by kind, nothing (summary), the
// block's first offset (8), or the block's first timestamp and offset (8 + 8). A producer snapshot has its
// own offset in the place of the base offset. All big-endian, so that they sort as numbers.
enum class Kind : char { kBlock = 'o', kSummary = 's', kTime = 't', kProducers = 'p' };

constexpr size_t kPartitionSize = 20;
constexpr size_t kSegmentSize = kPartitionSize + 1 + sizeof(int64_t);
constexpr size_t kEntrySize = 3 * sizeof(int64_t);
constexpr size_t kSummarySize = 6 * sizeof(int64_t) + 1;
constexpr size_t kWriteBufferBytes = size_t{8} << 20;
constexpr size_t kCacheBytes = size_t{16} << 20;
constexpr int kOpenFiles = 256;
// As many are removed one by one: about as dear to walk over, later, as the one range is.
constexpr size_t kFewKeys = 100;
// Of this thread, see never_wait_on_this_thread().
thread_local bool may_wait = true;

constexpr uint64_t kVerifiedBytes = uint64_t{64} << 20;  // the index of about 10 GiB of data

// Flips the sign bit, so that negative timestamps come first.
constexpr uint64_t ordered(int64_t value) {
  return static_cast<uint64_t>(value) ^ uint64_t { 1 } << 63;
}

void put_u64(std::string& out, uint64_t value) {
  for (int shift = 56; shift >= 0; shift -= 8) out += static_cast<char>(value >> shift & 0xff);
}

uint64_t get_u64(const char* at) {
  uint64_t value = 0;
  for (int i = 0; i < 8; ++i) value = value << 8 | static_cast<uint8_t>(at[i]);
  return value;
}

int64_t get_i64(const char* at) { return static_cast<int64_t>(get_u64(at)); }

std::string partition_prefix(const TopicIdPartition& id) {
  std::string key(reinterpret_cast<const char*>(id.topic_id.bytes.data()), id.topic_id.bytes.size());
  for (int shift = 24; shift >= 0; shift -= 8)
    key += static_cast<char>(static_cast<uint32_t>(id.partition) >> shift & 0xff);
  return key;
}

std::string segment_prefix(const SegmentKey& key, Kind kind) {
  std::string prefix = partition_prefix(key.partition);
  prefix += static_cast<char>(kind);
  put_u64(prefix, static_cast<uint64_t>(key.base_offset));
  return prefix;
}

// The first key behind all that begin with `prefix`.
std::string after(std::string prefix) {
  while (!prefix.empty() && static_cast<uint8_t>(prefix.back()) == 0xff) prefix.pop_back();
  if (!prefix.empty()) prefix.back() = static_cast<char>(prefix.back() + 1);
  return prefix;
}

std::string encode_entries(std::span<const IndexEntry> entries) {
  std::string value;
  value.reserve(entries.size() * kEntrySize);
  for (const IndexEntry& entry : entries) {
    put_u64(value, static_cast<uint64_t>(entry.offset));
    put_u64(value, static_cast<uint64_t>(entry.position));
    put_u64(value, static_cast<uint64_t>(entry.max_timestamp_ms));
  }
  return value;
}

IndexEntry entry_at(rocksdb::Slice value, size_t i) {
  const char* at = value.data() + i * kEntrySize;
  return {get_i64(at), get_i64(at + 8), get_i64(at + 16)};
}

std::string encode_summary(const SegmentSummary& summary) {
  std::string value;
  for (const int64_t number :
       {summary.base_offset, summary.size, summary.next_offset, summary.max_timestamp_ms,
        summary.max_timestamp_offset, summary.first_timestamp_ms}) {
    put_u64(value, static_cast<uint64_t>(number));
  }
  value += summary.synced ? '\1' : '\0';
  return value;
}

SegmentSummary decode_summary(rocksdb::Slice value) {
  const char* at = value.data();
  return {get_i64(at),      get_i64(at + 8),  get_i64(at + 16), get_i64(at + 24),
          get_i64(at + 32), get_i64(at + 40), at[48] != '\0'};
}

std::unexpected<Error> index_failure(const rocksdb::Status& status) {
  return fail(ErrorCode::kKafkaStorageError, "the offset index: " + status.ToString());
}

// Whether it is the database that is wrong. Anything else (no space, no descriptors, no permission, a disk
// that fails) says nothing about what is stored, and may pass.
bool is_damage(const rocksdb::Status& status) {
  if (!status.IsCorruption() && !status.IsInvalidArgument() && !status.IsNotFound() &&
      !status.IsPathNotFound()) {
    return false;
  }
  // It may be what the file system said of a file.
  const std::string text = status.ToString();
  return text.find("IO error") == std::string::npos || text.find("No such file") != std::string::npos;
}

std::unexpected<Error> open_failure(const rocksdb::Status& status, const std::string& directory) {
  const std::string text = status.ToString();
  std::string_view advice = advice_on_opening(text);
  if (advice.empty()) {
    advice =
        "see in the kernel's log whether the disk fails. An index that is lost for good is rebuilt from the "
        "segments once its directory is removed, which takes a scan of all of them";
  }
  return fail(ErrorCode::kKafkaStorageError, fmt::format("the offset index {} can't be opened: {}; {}",
                                                         directory, plain_status(text), advice));
}

rocksdb::Options database_options(rocksdb::Env* env) {
  rocksdb::Options options;
  if (env != nullptr) options.env = env;
  options.create_if_missing = true;
  options.write_buffer_size = kWriteBufferBytes;
  options.max_write_buffer_number = 2;
  options.max_open_files = kOpenFiles;
  options.max_background_jobs = 2;
  options.info_log = silent_database_logger();
  options.stats_dump_period_sec = 0;
  options.compression = rocksdb::kLZ4Compression;
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = rocksdb::NewLRUCache(kCacheBytes);
  table.cache_index_and_filter_blocks = true;
  options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  return options;
}

std::string mark_path(const std::string& directory) { return directory + "/DAMAGED"; }

// Opens, and reads every block of a database that isn't large: damage is then found now, and not in the
// middle of a fetch.
rocksdb::Status open_database(const rocksdb::Options& options, const std::string& directory,
                              rocksdb::DB** db) {
  auto status = rocksdb::DB::Open(options, directory, db);
  if (!status.ok()) return status;
  uint64_t bytes = 0;
  (*db)->GetIntProperty(rocksdb::DB::Properties::kTotalSstFilesSize, &bytes);
  if (bytes <= kVerifiedBytes) status = (*db)->VerifyChecksum();
  if (!status.ok()) {
    delete *db;
    *db = nullptr;
  }
  return status;
}

}  // namespace

OffsetIndex::OffsetIndex(std::unique_ptr<rocksdb::Env> env, std::unique_ptr<rocksdb::DB> db,
                         std::string directory)
    : env_(std::move(env)), db_(std::move(db)), directory_(std::move(directory)) {}

OffsetIndex::~OffsetIndex() {
  if (writable_ && db_) (void)flush();
}

Result<> OffsetIndex::checked(const rocksdb::Status& status) const {
  if (status.ok()) return {};
  if (status.IsIncomplete()) return fail(ErrorCode::kOperationNotAttempted, "not without the disk");
  if (status.IsCorruption() && is_damage(status) && !directory_.empty() && writable_)
    std::ofstream(mark_path(directory_)) << status.ToString() << '\n';
  return index_failure(status);
}

Result<std::unique_ptr<OffsetIndex>> OffsetIndex::open(const std::string& directory) {
  const auto options = database_options(nullptr);
  rocksdb::DB* db = nullptr;
  std::string reason;
  if (std::filesystem::exists(mark_path(directory))) {
    std::getline(std::ifstream(mark_path(directory)), reason);
    reason = "it was found damaged: " + reason;
  } else {
    const auto status = open_database(options, directory, &db);
    if (!status.ok() && !is_damage(status)) return open_failure(status, directory);
    if (!status.ok()) reason = status.ToString();
  }
  if (!reason.empty()) {
    std::error_code error;
    std::filesystem::remove_all(directory, error);
    if (const auto status = open_database(options, directory, &db); !status.ok())
      return open_failure(status, directory);
  }
  std::unique_ptr<OffsetIndex> index(new OffsetIndex(nullptr, std::unique_ptr<rocksdb::DB>(db), directory));
  index->rebuilt_because_ = std::move(reason);
  return index;
}

Result<std::unique_ptr<OffsetIndex>> OffsetIndex::open_read_only(const std::string& directory) {
  auto options = database_options(nullptr);
  options.create_if_missing = false;
  rocksdb::DB* db = nullptr;
  if (const auto status = rocksdb::DB::OpenForReadOnly(options, directory, &db); !status.ok())
    return index_failure(status);
  std::unique_ptr<OffsetIndex> index(new OffsetIndex(nullptr, std::unique_ptr<rocksdb::DB>(db), directory));
  index->writable_ = false;
  return index;
}

Result<std::unique_ptr<OffsetIndex>> OffsetIndex::open_in_memory() {
  return open_in(std::unique_ptr<rocksdb::Env>(rocksdb::NewMemEnv(rocksdb::Env::Default())));
}

Result<std::unique_ptr<OffsetIndex>> OffsetIndex::open_in(std::unique_ptr<rocksdb::Env> memory) {
  auto options = database_options(memory.get());
  options.avoid_flush_during_shutdown = true;  // for reopen_without_flush; the destructor flushes
  rocksdb::DB* db = nullptr;
  const auto status = rocksdb::DB::Open(options, "/index", &db);
  if (!status.ok()) return index_failure(status);
  return std::unique_ptr<OffsetIndex>(
      new OffsetIndex(std::move(memory), std::unique_ptr<rocksdb::DB>(db), {}));
}

Result<std::unique_ptr<OffsetIndex>> OffsetIndex::reopen_without_flush(std::unique_ptr<OffsetIndex> index) {
  index->db_.reset();
  return open_in(std::move(index->env_));
}

void OffsetIndex::never_wait_on_this_thread() { may_wait = false; }

Result<> OffsetIndex::write(rocksdb::WriteBatch& batch, IfStalled if_stalled) {
  rocksdb::WriteOptions options;
  options.no_slowdown = if_stalled == IfStalled::kRefuse && !may_wait;
  options.disableWAL = true;
  return checked(db_->Write(options, &batch));
}

namespace {

void put_block(rocksdb::WriteBatch& batch, const SegmentKey& key, std::span<const IndexEntry> entries) {
  if (entries.empty()) return;
  std::string block_key = segment_prefix(key, Kind::kBlock);
  put_u64(block_key, static_cast<uint64_t>(entries.front().offset));
  batch.Put(block_key, encode_entries(entries));
  std::string time_key = segment_prefix(key, Kind::kTime);
  put_u64(time_key, ordered(entries.front().max_timestamp_ms));
  put_u64(time_key, static_cast<uint64_t>(entries.front().offset));
  batch.Put(time_key, rocksdb::Slice());
}

// Over the keys that begin with a prefix, from any of them on. Without bounds an iterator that finds none
// goes on over all that was deleted behind, to the next key that is there: at a start that may be all logs'
// keys.
class PrefixIterator {
 public:
  PrefixIterator(rocksdb::DB& db, const std::string& prefix, rocksdb::ReadOptions options = {})
      : PrefixIterator(db, prefix, after(prefix), options) {}
  // From `from` to before `end`.
  PrefixIterator(rocksdb::DB& db, std::string from, std::string end, rocksdb::ReadOptions options)
      : from_(std::move(from)), end_(std::move(end)), lower_bound_(from_), upper_bound_(end_) {
    options.iterate_lower_bound = &lower_bound_;
    options.iterate_upper_bound = &upper_bound_;
    iterator_.reset(db.NewIterator(options));
  }
  PrefixIterator(const PrefixIterator&) = delete;

  rocksdb::Iterator* operator->() const { return iterator_.get(); }

 private:
  const std::string from_;
  const std::string end_;
  const rocksdb::Slice lower_bound_;
  const rocksdb::Slice upper_bound_;
  std::unique_ptr<rocksdb::Iterator> iterator_;
};

// Every iterator begins with sorting all range deletions in memory: a start that finds thousands of logs, and
// has nothing to remove of most, must not make one for each.
void remove_range(rocksdb::DB& db, rocksdb::WriteBatch& batch, const std::string& from,
                  const std::string& to) {
  std::vector<std::string> keys;
  rocksdb::ReadOptions options;
  options.fill_cache = false;
  if (!may_wait) options.read_tier = rocksdb::kBlockCacheTier;
  const PrefixIterator iterator(db, from, to, options);
  for (iterator->SeekToFirst(); iterator->Valid(); iterator->Next()) {
    keys.push_back(iterator->key().ToString());
    if (keys.size() > kFewKeys) break;
  }
  if (keys.size() > kFewKeys || !iterator->status().ok()) {
    batch.DeleteRange(from, to);
  } else {
    for (const std::string& key : keys) batch.Delete(key);
  }
}

void remove_all(rocksdb::DB& db, rocksdb::WriteBatch& batch, const std::string& prefix) {
  remove_range(db, batch, prefix, after(prefix));
}

rocksdb::ReadOptions read_options(OffsetIndex::Reach reach) {
  rocksdb::ReadOptions options;
  if (reach == OffsetIndex::Reach::kMemory) options.read_tier = rocksdb::kBlockCacheTier;
  return options;
}

}  // namespace

Result<> OffsetIndex::add_block(const SegmentKey& key, std::span<const IndexEntry> entries) {
  rocksdb::WriteBatch batch;
  put_block(batch, key, entries);
  return write(batch, IfStalled::kRefuse);
}

Result<> OffsetIndex::seal(const SegmentKey& key, std::span<const IndexEntry> entries,
                           const SegmentSummary& summary) {
  rocksdb::WriteBatch batch;
  put_block(batch, key, entries);
  batch.Put(segment_prefix(key, Kind::kSummary), encode_summary(summary));
  return write(batch, IfStalled::kRefuse);
}

Result<> OffsetIndex::remove_summary(const SegmentKey& key) {
  rocksdb::WriteBatch batch;
  batch.Delete(segment_prefix(key, Kind::kSummary));
  return write(batch, IfStalled::kWait);
}

// Of the time keys, which don't sort by offset, those of the blocks stay and lead nowhere.
Result<> OffsetIndex::remove_entries_from(const SegmentKey& key, int64_t offset) {
  const std::string prefix = segment_prefix(key, Kind::kBlock);
  std::string from = prefix;
  put_u64(from, static_cast<uint64_t>(offset));
  rocksdb::WriteBatch batch;
  const PrefixIterator last(*db_, prefix);
  last->SeekForPrev(from);
  if (last->Valid()) {
    size_t kept = last->value().size() / kEntrySize;
    while (kept > 0 && entry_at(last->value(), kept - 1).offset >= offset) --kept;
    // Where it begins at `offset` it goes with the others.
    if (kept > 0) batch.Put(last->key(), rocksdb::Slice(last->value().data(), kept * kEntrySize));
  }
  remove_range(*db_, batch, from, after(prefix));
  return write(batch, IfStalled::kWait);
}

Result<> OffsetIndex::remove_segment(const SegmentKey& key) {
  rocksdb::WriteBatch batch;
  remove_all(*db_, batch, segment_prefix(key, Kind::kSummary));
  remove_all(*db_, batch, segment_prefix(key, Kind::kBlock));
  remove_all(*db_, batch, segment_prefix(key, Kind::kTime));
  return write(batch, IfStalled::kWait);
}

Result<> OffsetIndex::remove_partition(const TopicIdPartition& partition) {
  rocksdb::WriteBatch batch;
  remove_all(*db_, batch, partition_prefix(partition));
  return write(batch, IfStalled::kWait);
}

Result<> OffsetIndex::add_producers(const TopicIdPartition& partition, int64_t offset, Bytes snapshot,
                                    std::span<const int64_t> obsolete) {
  const std::string prefix = partition_prefix(partition) + static_cast<char>(Kind::kProducers);
  const auto key_of = [&prefix](int64_t at) {
    std::string key = prefix;
    put_u64(key, static_cast<uint64_t>(at));
    return key;
  };
  rocksdb::WriteBatch batch;
  for (const int64_t former : obsolete) batch.Delete(key_of(former));
  batch.Put(key_of(offset), rocksdb::Slice(reinterpret_cast<const char*>(snapshot.data()), snapshot.size()));
  return write(batch, IfStalled::kRefuse);
}

Result<std::vector<OffsetIndex::ProducerSnapshot>> OffsetIndex::producers(
    const TopicIdPartition& partition) const {
  const std::string prefix = partition_prefix(partition) + static_cast<char>(Kind::kProducers);
  std::vector<ProducerSnapshot> found;
  const PrefixIterator iterator(*db_, prefix);
  for (iterator->SeekToFirst(); iterator->Valid(); iterator->Next()) {
    const Bytes value = as_bytes(iterator->value().ToStringView());
    if (iterator->key().size() != prefix.size() + sizeof(int64_t)) continue;
    found.push_back({get_i64(iterator->key().data() + prefix.size()), Buffer(value.begin(), value.end())});
  }
  if (auto status = checked(iterator->status()); !status) return std::unexpected(status.error());
  std::reverse(found.begin(), found.end());
  return found;
}

Result<> OffsetIndex::remove_producers(const TopicIdPartition& partition) {
  rocksdb::WriteBatch batch;
  remove_all(*db_, batch, partition_prefix(partition) + static_cast<char>(Kind::kProducers));
  return write(batch, IfStalled::kWait);
}

Result<std::optional<IndexEntry>> OffsetIndex::floor_offset(const SegmentKey& key, int64_t offset,
                                                            Reach reach) const {
  const std::string prefix = segment_prefix(key, Kind::kBlock);
  std::string wanted = prefix;
  put_u64(wanted, static_cast<uint64_t>(offset));
  const PrefixIterator found(*db_, prefix, read_options(reach));
  found->SeekForPrev(wanted);
  if (!found->Valid()) {
    if (auto status = checked(found->status()); !status) return std::unexpected(status.error());
    return std::nullopt;
  }
  const rocksdb::Slice block = found->value();
  std::optional<IndexEntry> floor;
  size_t low = 0;
  size_t high = block.size() / kEntrySize;
  while (low < high) {
    const size_t middle = (low + high) / 2;
    const IndexEntry entry = entry_at(block, middle);
    if (entry.offset <= offset) {
      floor = entry;
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return floor;
}

Result<std::optional<IndexEntry>> OffsetIndex::floor_timestamp(const SegmentKey& key, int64_t timestamp_ms,
                                                               Reach reach) const {
  const std::string prefix = segment_prefix(key, Kind::kTime);
  std::string wanted = prefix;
  put_u64(wanted, ordered(timestamp_ms));  // before all keys of this timestamp: they go on with an offset
  const PrefixIterator found(*db_, prefix, read_options(reach));
  found->SeekForPrev(wanted);
  if (!found->Valid()) {
    if (auto status = checked(found->status()); !status) return std::unexpected(status.error());
    return std::nullopt;
  }
  std::string block_key = segment_prefix(key, Kind::kBlock);
  block_key.append(found->key().data() + kSegmentSize + sizeof(int64_t), sizeof(int64_t));
  std::string block;
  const auto status = db_->Get(read_options(reach), block_key, &block);
  if (status.IsNotFound()) return std::nullopt;
  if (auto ok = checked(status); !ok) return std::unexpected(ok.error());
  std::optional<IndexEntry> floor;
  for (size_t i = 0; i < block.size() / kEntrySize; ++i) {
    const IndexEntry entry = entry_at(block, i);
    if (entry.max_timestamp_ms >= timestamp_ms) break;
    floor = entry;
  }
  return floor;
}

Result<std::vector<SegmentSummary>> OffsetIndex::summaries(const TopicIdPartition& partition) const {
  const std::string prefix = partition_prefix(partition) + static_cast<char>(Kind::kSummary);
  std::vector<SegmentSummary> found;
  const PrefixIterator iterator(*db_, prefix);
  for (iterator->SeekToFirst(); iterator->Valid(); iterator->Next()) {
    if (iterator->value().size() == kSummarySize) found.push_back(decode_summary(iterator->value()));
  }
  if (auto status = checked(iterator->status()); !status) return std::unexpected(status.error());
  return found;
}

Result<std::vector<IndexEntry>> OffsetIndex::entries(const SegmentKey& key) const {
  const std::string prefix = segment_prefix(key, Kind::kBlock);
  std::vector<IndexEntry> found;
  const PrefixIterator iterator(*db_, prefix);
  for (iterator->SeekToFirst(); iterator->Valid(); iterator->Next()) {
    for (size_t i = 0; i < iterator->value().size() / kEntrySize; ++i)
      found.push_back(entry_at(iterator->value(), i));
  }
  if (auto status = checked(iterator->status()); !status) return std::unexpected(status.error());
  return found;
}

Result<> OffsetIndex::flush() { return checked(db_->Flush(rocksdb::FlushOptions())); }

}  // namespace millrace::storage
