// Partitions on real files with a commit loop, on a shard of their own, and a gate in front of every sync of
// a segment and every write of a group to the journal: a test decides when one ends and how.
#pragma once

#include <atomic>
#include <catch2/catch.hpp>
#include <cerrno>
#include <condition_variable>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "broker/replication/commit_loop.h"
#include "broker/replication/partition.h"
#include "broker/runtime/disk_pool.h"
#include "broker/runtime/shard_group.h"
#include "protocol/batch_builder.h"
#include "storage/file_system.h"
#include "storage/log.h"
#include "storage/log_directory.h"
#include "storage/system_error.h"
#include "tests/storage/temporary_directory.h"

namespace millrace::replication::test {

// Open at first. Every syncing thread passes through it.
class SyncGate {
 public:
  void close() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
  }
  void open() {
    const std::lock_guard lock(mutex_);
    closed_ = false;
    changed_.notify_all();
  }
  // Lets one sync pass the closed gate.
  void admit_one() {
    const std::lock_guard lock(mutex_);
    ++admitted_;
    changed_.notify_all();
  }
  void fail_from_now_on() {
    const std::lock_guard lock(mutex_);
    failing_ = true;
  }
  // Returns once that many syncs have come to the gate.
  void wait_for_arrivals(int count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return arrived_ >= count; });
  }
  int arrived() {
    const std::lock_guard lock(mutex_);
    return arrived_;
  }
  // False when the sync is to fail.
  bool pass() {
    std::unique_lock lock(mutex_);
    ++arrived_;
    changed_.notify_all();
    changed_.wait(lock, [&] { return !closed_ || admitted_ > 0; });
    if (closed_) --admitted_;
    return !failing_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool closed_ = false;
  bool failing_ = false;
  int admitted_ = 0;
  int arrived_ = 0;
};

class GatedFile final : public storage::File {
 public:
  GatedFile(std::shared_ptr<storage::File> file, SyncGate& gate, bool is_journal,
            const std::function<void()>& hold, const std::atomic<bool>& is_full, std::atomic<int>& refused)
      : file_(std::move(file)),
        gate_(gate),
        is_journal_(is_journal),
        hold_(hold),
        is_full_(is_full),
        refused_(refused) {}

  Result<size_t> read_at(MutableBytes out, int64_t position) const override {
    return file_->read_at(out, position);
  }
  Result<> write_at(std::span<const Bytes> pieces, int64_t position) override {
    if (is_group(position) && !gate_.pass()) return fail(ErrorCode::kKafkaStorageError, "the disk is gone");
    if (is_full_ && path().find("orders-0/") != std::string::npos) {
      ++refused_;
      return storage::system_failure("can't write", path(), ENOSPC);
    }
    return file_->write_at(pieces, position);
  }
  Result<> truncate(int64_t size) override { return file_->truncate(size); }
  Result<> sync_data() override {
    if (!is_journal_ && hold_) hold_();
    if (!gate_.pass()) return fail(ErrorCode::kKafkaStorageError, "the disk is gone");
    return file_->sync_data();
  }
  Result<int64_t> size() const override { return file_->size(); }
  Result<storage::Reserved> reserve(int64_t position, int64_t bytes) override {
    return file_->reserve(position, bytes);
  }
  int fd() const override { return file_->fd(); }
  const std::string& path() const override { return file_->path(); }

 private:
  // Not a header of the journal file, nor a part of what gives a new one its size.
  bool is_group(int64_t position) const {
    constexpr auto kBlock = static_cast<int64_t>(storage::kJournalBlockBytes);
    return is_journal_ && position >= kBlock && position < storage::JournalDirectory::kFileBytes - kBlock &&
           position < file_->size().value_or(0);
  }

  std::shared_ptr<storage::File> file_;
  SyncGate& gate_;
  const bool is_journal_;
  const std::function<void()>& hold_;
  const std::atomic<bool>& is_full_;
  std::atomic<int>& refused_;
};

// Small files (of checkpoints) are synced by the shard itself, and have no gate.
class GatedFileSystem final : public storage::FileSystem {
 public:
  SyncGate gate;
  // Called before a segment is synced, on the syncing thread; set while nothing is.
  std::function<void()> hold;
  // Of the first partition's segments no write finds space.
  std::atomic<bool> is_full = false;
  std::atomic<int> refused = 0;  // such writes

  Result<std::shared_ptr<storage::File>> open(const std::string& path, storage::OpenMode mode) override {
    auto opened = files_.open(path, mode);
    const bool is_journal = mode == storage::OpenMode::kDurable;
    if (!opened || (!path.ends_with(".log") && !is_journal)) return opened;
    return std::make_shared<GatedFile>(std::move(*opened), gate, is_journal, hold, is_full, refused);
  }
  Result<bool> exists(const std::string& path) override { return files_.exists(path); }
  Result<storage::FileStatus> status(const std::string& path) override { return files_.status(path); }
  Result<std::vector<storage::DirectoryEntry>> list(const std::string& directory) override {
    return files_.list(directory);
  }
  Result<> rename(const std::string& from, const std::string& to) override { return files_.rename(from, to); }
  Result<> remove(const std::string& path) override { return files_.remove(path); }
  Result<> create_directory(const std::string& path) override { return files_.create_directory(path); }
  Result<> sync_directory(const std::string& path) override { return files_.sync_directory(path); }
  Result<> sync_all(const std::string& path) override {
    if (hold) hold();
    if (!gate.pass()) return fail(ErrorCode::kKafkaStorageError, "the disk is gone");
    return files_.sync_all(path);
  }

 private:
  storage::PosixFileSystem files_;
};

inline constexpr int64_t kNow = 1'700'000'000'000;
// A deadline that has passed: who waits for it gives up at its first turn.
inline constexpr int64_t kAtOnce = 0;

inline Buffer batch_of(int records) {
  protocol::BatchBuilder builder{protocol::BatchOptions()};
  for (int i = 0; i < records; ++i) builder.append(std::nullopt, as_bytes("value"), {}, kNow);
  auto batch = builder.build();
  REQUIRE(batch);
  return std::move(*batch);
}

class PartitionFixture {
 public:
  GatedFileSystem files;
  SyncGate& gate = files.gate;
  runtime::ShardGroup shards{2, runtime::SystemClock::instance(), 1};

  PartitionFixture() {
    auto sync_failed = [this](const Error& error) {
      if (!std::exchange(failed_, true)) failure_.set_value(error.message);
    };
    loop_ = std::make_unique<CommitLoop>(home(), CommitLoop::Options{.sync_pool = pool_,
                                                                     .disk_pool = pool_,
                                                                     .files = files,
                                                                     .log_directory = *log_directory_,
                                                                     .sync_failed = sync_failed});
    home().spawn([this] { return loop_->run(); });
  }
  ~PartitionFixture() {
    gate.open();
    auto end = [this]() -> runtime::Task<> {
      co_await loop_->stop();
      for (const auto& partition : partitions_) {
        if (!partition->removed()) partition->remove();
      }
      partitions_.clear();
    };
    home().run(end);
    pool_.stop();
    shards.stop();
  }

  runtime::Shard& home() { return shards[0]; }
  CommitLoop& loop() { return *loop_; }
  // Told to who ends the process: why the first failed sync failed.
  std::string sync_failure() { return failure_.get_future().get(); }

  // A new, empty partition, whose segment is synced at every append if nothing else is said.
  std::shared_ptr<Partition> make(int32_t leader_epoch = 0, storage::LogConfig config = synced(),
                                  storage::Journal* journal = nullptr) {
    const auto index = static_cast<int32_t>(partitions_.size());
    const std::string path = directory_.path + "/orders-" + std::to_string(index);
    REQUIRE(files.create_directory(path));
    auto log = storage::Log::open(files, log_directory_->index(),
                                  {.directory = path,
                                   .id = {Uuid::from_random(1, 2), index},
                                   .topic = "orders",
                                   .config = config,
                                   .now_ms = kNow,
                                   .journal = journal},
                                  nullptr);
    REQUIRE(log);
    auto partition = std::make_shared<Partition>(std::move(*log), "orders", leader_epoch, *loop_);
    partitions_.push_back(partition);
    return partition;
  }
  static storage::LogConfig synced() {
    storage::LogConfig config;
    config.flush_messages = 1;
    return config;
  }

  // Runs f on the partitions' shard.
  template <class F>
  auto on_shard(F f) {
    return home().run(std::move(f));
  }
  bool has_failed() {
    return on_shard([this] { return failed_; });
  }
  ErrorCode append(Partition& partition, int records) {
    return on_shard([&partition, batch = batch_of(records)]() mutable {
      const auto appended = partition.append(batch, kNow);
      return appended ? ErrorCode::kNone : appended.error().code;
    });
  }
  // Appends and waits for the sync.
  void append_synced(Partition& partition, int records) {
    REQUIRE(append(partition, records) == ErrorCode::kNone);
    const int64_t end = on_shard([&] { return partition.log().log_end_offset(); });
    REQUIRE(wait(partition, end) == ErrorCode::kNone);
  }
  ErrorCode wait(Partition& partition, int64_t end_offset, Acks acks = Acks::kAll,
                 int64_t deadline_ns = runtime::kNever) {
    return start_waiting(partition, end_offset, acks, deadline_ns).get();
  }
  // The same in the background.
  std::future<ErrorCode> start_waiting(Partition& partition, int64_t end_offset, Acks acks = Acks::kAll,
                                       int64_t deadline_ns = runtime::kNever) {
    auto promise = std::make_shared<std::promise<ErrorCode>>();
    home().spawn([&partition, end_offset, acks, deadline_ns, promise]() -> runtime::Task<> {
      const Result<> result = co_await partition.wait_acknowledged(end_offset, acks, deadline_ns);
      promise->set_value(result ? ErrorCode::kNone : result.error().code);
    });
    return promise->get_future();
  }
  // One whose records go to the journal, which has a file.
  std::shared_ptr<Partition> make_journaled() {
    auto partition = make(0, synced(), &loop_->journal());
    auto wants_file = [this] { return loop_->journal().wants_file(); };
    while (on_shard(wants_file)) append_synced(*partition, 1);
    return partition;
  }
  int64_t high_watermark(Partition& partition) {
    return on_shard([&] { return partition.high_watermark(); });
  }
  ReadOutcome read(Partition& partition, ReadRequest request) {
    request.max_bytes = 1 << 20;
    return on_shard([&] { return partition.read(request); });
  }

  std::string journal_path() const { return directory_.path + "/journal"; }

 private:
  storage::test::TemporaryDirectory directory_;
  std::unique_ptr<storage::LogDirectory> log_directory_ =
      std::move(*storage::LogDirectory::open_in_memory(files, directory_.path));
  runtime::DiskPool pool_{2, 2};
  std::unique_ptr<CommitLoop> loop_;
  std::vector<std::shared_ptr<Partition>> partitions_;
  bool failed_ = false;
  std::promise<std::string> failure_;
};

inline bool is_ready(const std::future<ErrorCode>& future) {
  return future.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
}

}  // namespace millrace::replication::test
