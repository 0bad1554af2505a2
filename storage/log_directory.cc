#include "storage/log_directory.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <future>
#include <map>

#include "storage/leader_epochs.h"
#include "storage/segment.h"

namespace millrace::storage {
namespace {

constexpr std::string_view kIdentityFile = "meta.properties";
constexpr std::string_view kUnsyncedFile = ".unsynced-partitions";
constexpr std::string_view kPartitionFile = "partition.metadata";
constexpr std::string_view kRetiredSuffix = "-delete";
constexpr size_t kSmallFileLimit = 64 * 1024;
constexpr size_t kNameLimit = 255;
// New partitions; for more, one sync of the whole file system costs less.
constexpr size_t kSyncedOneByOne = 4;

// Lines "key<separator>value"; blank lines and lines with # are skipped.
std::map<std::string, std::string> parse_lines(std::string_view text, char separator) {
  std::map<std::string, std::string> values;
  const auto trimmed = [](std::string_view part) {
    while (!part.empty() && part.front() == ' ') part.remove_prefix(1);
    while (!part.empty() && (part.back() == ' ' || part.back() == '\r')) part.remove_suffix(1);
    return std::string(part);
  };
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    const size_t at = line.find(separator);
    if (line.starts_with('#') || at == std::string_view::npos) continue;
    values[trimmed(line.substr(0, at))] = trimmed(line.substr(at + 1));
  }
  return values;
}

std::optional<int32_t> parse_int(std::string_view text) {
  int32_t value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || parsed.ec != std::errc() || parsed.ptr != text.data() + text.size())
    return std::nullopt;
  return value;
}

Result<std::optional<DirectoryIdentity>> load_identity(FileSystem& files, const std::string& directory) {
  const std::string path = fmt::format("{}/{}", directory, kIdentityFile);
  const auto exists = files.exists(path);
  if (!exists) return std::unexpected(exists.error());
  if (!*exists) return std::nullopt;
  const auto content = read_file(files, path, kSmallFileLimit);
  if (!content) return std::unexpected(content.error());
  auto values = parse_lines(as_text(*content), '=');
  const auto node_id = parse_int(values["node.id"]);
  if (values["version"] != "1" || values["cluster.id"].empty() || !node_id) {
    return fail(
        ErrorCode::kKafkaStorageError,
        fmt::format(
            "{} must have version=1, cluster.id and node.id; restore it from a backup, or write it anew with "
            "this cluster's id and this broker's node id",
            path));
  }
  return DirectoryIdentity{values["cluster.id"], *node_id};
}

// Whether any partition has a segment file with something in it.
Result<bool> holds_records(FileSystem& files, const std::string& data_directory) {
  const std::string topics = fmt::format("{}/{}", data_directory, LogDirectory::kTopicsDirectory);
  const auto partitions = files.list(topics);
  if (!partitions) return std::unexpected(partitions.error());
  for (const DirectoryEntry& partition : *partitions) {
    if (!partition.is_directory) continue;
    const std::string path = fmt::format("{}/{}", topics, partition.name);
    const auto entries = files.list(path);
    if (!entries) return std::unexpected(entries.error());
    for (const DirectoryEntry& entry : *entries) {
      if (!Segment::base_offset_of(entry.name)) continue;
      const auto status = files.status(fmt::format("{}/{}", path, entry.name));
      if (!status) return std::unexpected(status.error());
      if (status->size > 0) return true;
    }
  }
  return false;
}

}  // namespace

std::optional<TopicPartition> parse_partition_directory(std::string_view name) {
  const size_t dash = name.rfind('-');
  if (dash == std::string_view::npos || dash == 0) return std::nullopt;
  const auto partition = parse_int(name.substr(dash + 1));
  if (!partition || *partition < 0) return std::nullopt;
  return TopicPartition{std::string(name.substr(0, dash)), *partition};
}

Result<Uuid> read_topic_id(FileSystem& files, const std::string& partition_path) {
  const std::string path = fmt::format("{}/{}", partition_path, kPartitionFile);
  const auto content = read_file(files, path, kSmallFileLimit);
  if (!content) return std::unexpected(content.error());
  auto values = parse_lines(as_text(*content), ':');
  const auto topic_id = Uuid::parse(values["topic_id"]);
  if (values["version"] != "0" || !topic_id || topic_id->is_zero()) {
    return fail(ErrorCode::kCorruptMessage,
                path +
                    " doesn't hold \"version: 0\" and a topic_id; restore it, or write it anew: two lines, "
                    "\"version: 0\" and \"topic_id: ID\", with the ID that `millrace topic describe` shows");
  }
  return *topic_id;
}

Result<std::optional<std::string>> missing_journal(FileSystem& files, const std::string& data_directory) {
  const std::string path = fmt::format("{}/{}", data_directory, LogDirectory::kJournalDirectory);
  const auto clean = files.exists(fmt::format("{}/{}", data_directory, LogDirectory::kCleanShutdownFile));
  if (!clean) return std::unexpected(clean.error());
  const auto claimed = files.exists(fmt::format("{}/{}", data_directory, kIdentityFile));
  if (!claimed) return std::unexpected(claimed.error());
  if (*clean || !*claimed) return std::nullopt;
  const auto exists = files.exists(path);
  if (!exists) return std::unexpected(exists.error());
  if (*exists) {
    const auto entries = files.list(path);
    if (!entries) return std::unexpected(entries.error());
    const auto is_file = [](const auto& entry) { return entry.name.ends_with(JournalDirectory::kSuffix); };
    if (std::ranges::any_of(*entries, is_file)) return std::nullopt;
    // The first one is made with the first records.
    const auto has_records = holds_records(files, data_directory);
    if (!has_records) return std::unexpected(has_records.error());
    if (!*has_records) return std::nullopt;
  }
  return fmt::format(
      "{} {}, although the broker was not stopped cleanly: records that were acknowledged "
      "shortly before may be missing. Restore it and start again, or see with `millrace log "
      "verify` whether a partition misses records",
      path, *exists ? "has no file" : "is gone");
}

Result<std::unique_ptr<LogDirectory>> LogDirectory::open(FileSystem& files, const std::string& path,
                                                         const std::function<void()>& once_locked) {
  if (auto made = files.create_directory(path); !made) return std::unexpected(made.error());
  std::unique_ptr<LogDirectory> directory(new LogDirectory(files, path));
  auto lock = DirectoryLock::take(path);
  if (!lock) return std::unexpected(lock.error());
  directory->lock_ = std::move(*lock);
  if (auto watched = files.watch_for_failures(path); !watched) return std::unexpected(watched.error());
  if (once_locked) once_locked();
  // Beside the journal's files: both wait for the disk.
  auto opening = std::async(std::launch::async, [&path] { return OffsetIndex::open(path + "/index"); });
  const auto loaded = directory->load();
  auto index = opening.get();
  if (!loaded) return std::unexpected(loaded.error());
  if (!index) return std::unexpected(index.error());
  directory->index_ = std::move(*index);
  if (auto removed = directory->remove_clean_shutdown_marker(); !removed)
    return std::unexpected(removed.error());
  return directory;
}

Result<std::unique_ptr<LogDirectory>> LogDirectory::open_in_memory(FileSystem& files,
                                                                   const std::string& path) {
  if (auto made = files.create_directory(path); !made) return std::unexpected(made.error());
  std::unique_ptr<LogDirectory> directory(new LogDirectory(files, path));
  if (auto watched = files.watch_for_failures(path); !watched) return std::unexpected(watched.error());
  auto index = OffsetIndex::open_in_memory();
  if (!index) return std::unexpected(index.error());
  directory->index_ = std::move(*index);
  if (auto loaded = directory->load(); !loaded) return std::unexpected(loaded.error());
  if (auto removed = directory->remove_clean_shutdown_marker(); !removed)
    return std::unexpected(removed.error());
  return directory;
}

Result<> LogDirectory::load() {
  if (auto made = files_.create_directory(topics_path()); !made) return made;
  auto identity = load_identity(files_, path_);
  if (!identity) return std::unexpected(identity.error());
  identity_ = std::move(*identity);
  if (auto synced = sync_what_a_kill_left(); !synced) return synced;
  const std::string marker = fmt::format("{}/{}", path_, kCleanShutdownFile);
  const auto clean = files_.exists(marker);
  if (!clean) return std::unexpected(clean.error());
  clean_shutdown_ = *clean;
  auto missing = missing_journal(files_, path_);
  if (!missing) return std::unexpected(missing.error());
  auto journals =
      JournalDirectory::open(files_, fmt::format("{}/{}", path_, kJournalDirectory), !clean_shutdown_);
  if (!journals) return std::unexpected(journals.error());
  journals_ = std::move(*journals);
  if (*missing) journals_->note_gap(std::move(**missing));
  return {};
}

// From here on a crash is one.
Result<> LogDirectory::remove_clean_shutdown_marker() {
  if (!clean_shutdown_) return {};
  const std::string marker = fmt::format("{}/{}", path_, kCleanShutdownFile);
  if (auto removed = files_.remove(marker); !removed) return removed;
  return files_.sync_directory(path_);
}

// After a kill, the page cache has directories that no later start would take for new, nor sync. After a
// power loss, what is there is on disk.
Result<> LogDirectory::sync_what_a_kill_left() {
  const std::string marker = fmt::format("{}/{}", path_, kUnsyncedFile);
  const auto unsynced = files_.exists(marker);
  if (!unsynced) return std::unexpected(unsynced.error());
  if (!*unsynced) return {};
  if (auto synced = files_.sync_all(path_); !synced) return synced;
  return files_.remove(marker);
}

Result<> LogDirectory::begin_new() {
  const std::lock_guard lock(unsynced_mutex_);
  if (unsynced_++ > 0) return {};
  const auto marker = files_.open(fmt::format("{}/{}", path_, kUnsyncedFile), OpenMode::kCreate);
  if (!marker) return std::unexpected(marker.error());
  return {};
}

// A marker that stays behind costs the next start a sync.
void LogDirectory::end_new(size_t count) {
  const std::lock_guard lock(unsynced_mutex_);
  unsynced_ -= count;
  if (unsynced_ == 0) (void)files_.remove(fmt::format("{}/{}", path_, kUnsyncedFile));
}

Result<> LogDirectory::claim(const DirectoryIdentity& identity) {
  if (!identity_) {
    const std::string text =
        fmt::format("version=1\ncluster.id={}\nnode.id={}\n", identity.cluster_id, identity.node_id);
    if (auto stored = replace_file(files_, fmt::format("{}/{}", path_, kIdentityFile), as_bytes(text));
        !stored)
      return stored;
    identity_ = identity;
    return {};
  }
  if (*identity_ == identity) return {};
  if (identity_->node_id == identity.node_id) {
    return fail(
        ErrorCode::kInconsistentClusterId,
        fmt::format("the data directory {} belongs to cluster {}, and the metadata is of cluster {}. If the "
                    "metadata was lost, and this is new, put it back from a backup: the topics' records "
                    "are still here, but not which topics there are. If it is right, give this broker its "
                    "own data directory",
                    path_, identity_->cluster_id, identity.cluster_id));
  }
  return fail(
      ErrorCode::kInconsistentClusterId,
      fmt::format("the data directory {} belongs to node {} of cluster {}, and this is node {} of cluster "
                  "{}; give this "
                  "broker its own directory",
                  path_, identity_->node_id, identity_->cluster_id, identity.node_id, identity.cluster_id));
}

Result<std::vector<PartitionDirectory>> LogDirectory::list(std::vector<std::string>* problems) const {
  const auto entries = files_.list(topics_path());
  if (!entries) return std::unexpected(entries.error());
  const auto note = [&](std::string problem) {
    if (problems != nullptr) problems->push_back(std::move(problem));
  };
  std::vector<PartitionDirectory> found;
  for (const DirectoryEntry& entry : *entries) {
    if (entry.name.ends_with(kRetiredSuffix)) continue;
    const std::string path = topics_path() + "/" + entry.name;
    auto name = parse_partition_directory(entry.name);
    if (!name || !entry.is_directory) {
      note(path + " isn't a partition's directory (<topic>-<partition>): left alone");
      continue;
    }
    const auto topic_id = read_topic_id(files_, path);
    if (!topic_id) {
      note(topic_id.error().message + ": its partition is left alone");
      continue;
    }
    found.push_back({path, std::move(name->topic), {*topic_id, name->partition}});
  }
  return found;
}

// Whether a crash while the partition was made left this: names without sound contents, and nothing that
// could be lost.
Result<bool> LogDirectory::is_unfinished(const std::string& partition_path) const {
  const auto entries = files_.list(partition_path);
  if (!entries) return std::unexpected(entries.error());
  for (const DirectoryEntry& entry : *entries) {
    if (entry.name == kPartitionFile || entry.name == LeaderEpochs::kFileName) continue;
    const auto status = files_.status(fmt::format("{}/{}", partition_path, entry.name));
    if (!status) return std::unexpected(status.error());
    if (status->size > 0) return false;
  }
  return true;
}

Result<PartitionDirectory> LogDirectory::create(const std::string& topic, const TopicIdPartition& id) {
  PartitionDirectory partition{fmt::format("{}/{}-{}", topics_path(), topic, id.partition), topic, id};
  const std::string file = fmt::format("{}/{}", partition.path, kPartitionFile);
  const auto exists = files_.exists(file);
  if (!exists) return std::unexpected(exists.error());
  if (*exists) {
    const auto topic_id = read_topic_id(files_, partition.path);
    if (topic_id && *topic_id == id.topic_id) return partition;
    if (topic_id) {
      return fail(
          ErrorCode::kInconsistentTopicId,
          fmt::format(
              "{} belongs to an earlier topic of this name, with id {}, not {}: move it elsewhere. If nobody "
              "deleted that topic, its metadata is lost, and these records are all there is of it",
              partition.path, topic_id->to_string(), id.topic_id.to_string()));
    }
    if (topic_id.error().code != ErrorCode::kCorruptMessage) return std::unexpected(topic_id.error());
    const auto unfinished = is_unfinished(partition.path);
    if (!unfinished) return std::unexpected(unfinished.error());
    if (!*unfinished) return std::unexpected(topic_id.error());
  } else {
    const auto has_directory = files_.exists(partition.path);
    if (!has_directory) return std::unexpected(has_directory.error());
    const auto unfinished = *has_directory ? is_unfinished(partition.path) : Result<bool>(true);
    if (!unfinished) return std::unexpected(unfinished.error());
    if (!*unfinished) {
      return fail(
          ErrorCode::kCorruptMessage,
          fmt::format("{} is missing, and there are records beside it: nothing tells whether they are this "
                      "topic's. Restore it, or, if they are, write it anew: two lines, \"version: 0\" and "
                      "\"topic_id: {}\"; if they aren't, move the directory elsewhere",
                      file, id.topic_id.to_string()));
    }
  }
  if (auto begun = begin_new(); !begun) return std::unexpected(begun.error());
  if (auto made = files_.create_directory(partition.path); !made) return std::unexpected(made.error());
  const std::string text = fmt::format("version: 0\ntopic_id: {}", id.topic_id.to_string());
  auto opened = files_.open(file, OpenMode::kCreate);
  if (!opened) return std::unexpected(opened.error());
  if (auto emptied = (*opened)->truncate(0); !emptied) return std::unexpected(emptied.error());
  const Bytes pieces[] = {as_bytes(text)};
  if (auto written = (*opened)->write_at(pieces, 0); !written) return std::unexpected(written.error());
  partition.is_new = true;
  return partition;
}

Result<> LogDirectory::sync_new(std::span<const PartitionDirectory> partitions) {
  std::vector<const PartitionDirectory*> made;
  for (const PartitionDirectory& partition : partitions) {
    if (partition.is_new) made.push_back(&partition);
  }
  if (made.empty()) return {};
  const auto synced = made.size() > kSyncedOneByOne ? files_.sync_all(path_) : sync_each(made);
  if (synced) end_new(made.size());
  return synced;
}

Result<> LogDirectory::sync_each(std::span<const PartitionDirectory* const> partitions) {
  for (const PartitionDirectory* partition : partitions) {
    const auto file =
        files_.open(fmt::format("{}/{}", partition->path, kPartitionFile), OpenMode::kReadWrite);
    if (!file) return std::unexpected(file.error());
    if (auto synced = (*file)->sync_data(); !synced) return synced;
    if (auto synced = files_.sync_directory(partition->path); !synced) return synced;
  }
  return files_.sync_directory(topics_path());
}

Result<> LogDirectory::retire(const PartitionDirectory& partition) {
  const std::string suffix = fmt::format(".{}{}", partition.id.topic_id.to_string(), kRetiredSuffix);
  std::string name = fmt::format("{}-{}", partition.topic, partition.id.partition);
  // A long topic name leaves no room for the suffix; the id alone makes the name unique among its partitions.
  if (name.size() + suffix.size() > kNameLimit) {
    const std::string number = fmt::format("-{}", partition.id.partition);
    name = name.substr(0, kNameLimit - suffix.size() - number.size()) + number;
  }
  const std::string retired = topics_path() + "/" + name + suffix;
  if (auto removed = files_.remove(retired); !removed) return removed;
  if (auto renamed = files_.rename(partition.path, retired); !renamed) return renamed;
  // Entries that stay behind are found by no key that is still asked for.
  (void)index_->remove_partition(partition.id);
  return files_.sync_directory(topics_path());
}

Result<size_t> LogDirectory::remove_retired() {
  const std::lock_guard lock(removal_);
  const auto entries = files_.list(topics_path());
  if (!entries) return std::unexpected(entries.error());
  size_t count = 0;
  for (const DirectoryEntry& entry : *entries) {
    if (!entry.is_directory || !entry.name.ends_with(kRetiredSuffix)) continue;
    if (auto removed = files_.remove(topics_path() + "/" + entry.name); !removed)
      return std::unexpected(removed.error());
    ++count;
  }
  return count;
}

Result<> LogDirectory::mark_clean_shutdown() {
  if (auto flushed = index_->flush(); !flushed) return flushed;
  const std::string_view text = "version 0\n";
  return replace_file(files_, fmt::format("{}/{}", path_, kCleanShutdownFile), as_bytes(text));
}

}  // namespace millrace::storage
