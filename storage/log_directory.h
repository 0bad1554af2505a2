// A broker's data directory:
//
//   meta.properties                     whose directory this is (Kafka's format)
//   .lock                               held by the running broker
//   .clean-shutdown                     there between a clean stop and the next start
//   .unsynced-partitions                there while partitions are made, until they are durable
//   index/                              the offset index of all partitions
//   journal/                            the journals of the shards
//   topics/<topic>-<partition>/         a partition's log, with partition.metadata (Kafka's format: the topic
//   id) topics/<topic>-<partition>.<topic id>-delete/   deleted, to be removed
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/result.h"
#include "protocol/topic_partition.h"
#include "protocol/uuid.h"
#include "storage/directory_lock.h"
#include "storage/file_system.h"
#include "storage/journal_directory.h"
#include "storage/offset_index.h"

namespace millrace::storage {

struct DirectoryIdentity {
  std::string cluster_id;
  int32_t node_id = 0;
  auto operator<=>(const DirectoryIdentity&) const = default;
};

struct PartitionDirectory {
  std::string path;
  std::string topic;
  TopicIdPartition id;
  bool is_new = false;  // made just now
};

class LogDirectory {
 public:
  static constexpr std::string_view kCleanShutdownFile = ".clean-shutdown";
  static constexpr std::string_view kJournalDirectory = "journal";
  static constexpr std::string_view kTopicsDirectory = "topics";

  // Makes the directory if need be, locks it and opens its index. Errors: kKafkaStorageError (another broker
  // has it, no permission, a meta.properties that doesn't parse). `once_locked` (may be empty) is called when
  // no other broker can have it any more: it may begin to open what lies beside, since all wait for the disk.
  // What it began has to be ended by the caller where open() fails after it.
  static Result<std::unique_ptr<LogDirectory>> open(FileSystem& files, const std::string& path,
                                                    const std::function<void()>& once_locked = {});
  // The same without lock and with the index in memory, for tests and simulation.
  static Result<std::unique_ptr<LogDirectory>> open_in_memory(FileSystem& files, const std::string& path);

  const std::string& path() const { return path_; }
  OffsetIndex& index() { return *index_; }
  JournalDirectory& journals() { return *journals_; }
  // Whether the last owner called mark_clean_shutdown (and nobody opened the directory since).
  bool clean_shutdown() const { return clean_shutdown_; }
  // nullopt in a directory that nobody claimed yet.
  const std::optional<DirectoryIdentity>& identity() const { return identity_; }
  // Writes the identity into a new directory; in another it must be the same. Errors: kInconsistentClusterId,
  // kKafkaStorageError.
  Result<> claim(const DirectoryIdentity& identity);

  // All partitions that aren't deleted. A directory that isn't one of ours is left alone; `problems` (may be
  // null) gets a line for each.
  Result<std::vector<PartitionDirectory>> list(std::vector<std::string>* problems) const;
  // Makes a partition's directory, which is durable after sync_new; one of the same topic id that is there
  // already is fine. Errors: kInconsistentTopicId when another topic id's is there, kKafkaStorageError.
  Result<PartitionDirectory> create(const std::string& topic, const TopicIdPartition& id);
  // Makes durable those that are new, and what is in them. Many cost hardly more than a few.
  Result<> sync_new(std::span<const PartitionDirectory> partitions);
  // Renames a partition's directory and forgets its index, so that the name is free at once. Its Log must be
  // destroyed; slices stay readable.
  Result<> retire(const PartitionDirectory& partition);
  // Removes what was retired, by this broker or an earlier one; returns how many directories. May take long,
  // and may run on any thread.
  // One removal runs at a time.
  Result<size_t> remove_retired();

  // After all logs are closed: makes the index durable, then says so for the next start.
  Result<> mark_clean_shutdown();

 private:
  LogDirectory(FileSystem& files, std::string path) : files_(files), path_(std::move(path)) {}
  Result<> load();
  Result<> remove_clean_shutdown_marker();
  Result<> sync_what_a_kill_left();
  Result<> begin_new();
  void end_new(size_t count);
  Result<> sync_each(std::span<const PartitionDirectory* const> partitions);
  Result<bool> is_unfinished(const std::string& partition_path) const;
  std::string topics_path() const { return path_ + "/" + std::string(kTopicsDirectory); }

  FileSystem& files_;
  const std::string path_;
  std::unique_ptr<DirectoryLock> lock_;
  std::unique_ptr<OffsetIndex> index_;
  std::unique_ptr<JournalDirectory> journals_;
  std::optional<DirectoryIdentity> identity_;
  bool clean_shutdown_ = false;
  std::mutex removal_;
  std::mutex unsynced_mutex_;
  size_t unsynced_ = 0;  // partitions made and not durable yet
};

// Splits "<topic>-<partition>"; nullopt for any other name.
std::optional<TopicPartition> parse_partition_directory(std::string_view name);

// A line about a data directory that wasn't closed, and of whose journal nothing is left, although it must
// have had files; nullopt otherwise. Errors: kKafkaStorageError.
Result<std::optional<std::string>> missing_journal(FileSystem& files, const std::string& data_directory);

// The topic id in a partition directory's partition.metadata. Errors: kKafkaStorageError, kCorruptMessage.
Result<Uuid> read_topic_id(FileSystem& files, const std::string& partition_path);

}  // namespace millrace::storage
