// Syncs a shard's segments behind the journal's back, and tells the index how far: after that the journal's
// full files are free again, and the next start reads only what comes behind.
//
// A checkpoint begins when enough was written, when a journal file is full, when descriptors get scarce (a
// file that was written to stays open until it is synced), or some time after the first change. Appends go on
// meanwhile.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "broker/runtime/disk_pool.h"
#include "broker/runtime/notifier.h"
#include "broker/runtime/shard.h"
#include "broker/runtime/task.h"
#include "storage/journal.h"
#include "storage/log_directory.h"

namespace millrace::replication {

class Partition;

class Checkpointer {
 public:
  // Since the last checkpoint: what a start after a kill reads at most, by shard, apart from what comes in
  // while one is under way.
  static constexpr size_t kMaxBytes = size_t{64} << 20;
  static constexpr int64_t kMaxDelayMs = 30'000;
  // Between checkpoints that only close files: it may be connections that take the descriptors.
  static constexpr int64_t kScarceDelayMs = 1'000;

  // Between those that a full journal file asks for while the disk refuses what a log holds back.
  static constexpr int64_t kRefusedDelayMs = 1'000;

  struct Options {
    runtime::DiskPool& disk_pool;
    storage::FileSystem& files;
    storage::LogDirectory& log_directory;
    storage::Journal& journal;
    std::function<void(const Error&)> sync_failed;  // see CommitLoop
  };

  Checkpointer(runtime::Shard& shard, Options options) : shard_(shard), options_(std::move(options)) {}

  // A partition's log has `bytes` more than the index covers.
  void appended(Partition& partition, size_t bytes);
  // The journal has a full file.
  void hurry();

  // Runs until stop(). Once, on the shard.
  runtime::Task<> run();
  // Returns when the checkpoint under way, if any, has ended.
  runtime::Task<> stop();

 private:
  struct Member;
  struct Begun;

  bool is_due() const;
  bool files_are_due() const;
  runtime::Task<> checkpoint();
  runtime::Task<Begun> begin();
  runtime::Task<> finish(const std::vector<Member>& members);

  runtime::Shard& shard_;
  const Options options_;
  std::vector<std::weak_ptr<Partition>> changed_;
  size_t bytes_ = 0;
  int64_t deadline_ns_ = runtime::kNever;
  int64_t next_scarce_ns_ = 0;
  int64_t next_full_ns_ = 0;
  bool is_refused_ = false;  // what a log holds back, and that was told
  bool hurried_ = false;
  bool running_ = false;
  bool stopping_ = false;
  runtime::Notifier wakeup_;
  runtime::Notifier ended_;
};

}  // namespace millrace::replication
