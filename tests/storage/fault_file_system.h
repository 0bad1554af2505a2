// A file system in memory that crashes: it knows what was synced, and loses, tears or reorders the rest when
// told to. Any operation can be made to fail, to be done in part, or to be skipped in silence.
#pragma once

#include <algorithm>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "storage/file_system.h"

namespace millrace::storage::test {

// What a device writes at once: after a power loss each is as it was, or new, or not there yet (zeros).
inline constexpr size_t kSectorBytes = 512;

struct Node {
  Buffer content;        // in the page cache
  Buffer synced;         // on the disk
  int64_t reserved = 0;  // bytes of space that it has at least
  int64_t modified_ms = 0;
  bool lost = false;  // descriptors of before a crash write to nothing
};

struct Faults {
  int64_t bytes_until_full = -1;  // -1: never; a write beyond writes what fits and fails
  bool fail_truncate = false;
  bool fail_sync = false;
  bool fail_create = false;
};

enum class Operation {
  kOpen,
  kCreate,
  kRead,
  kWrite,
  kWriteAside,  // to space that was set aside
  kDurableWrite,
  kReserve,
  kTruncate,
  kSync,
  kLook,  // exists, status, list
  kRename,
  kRemove,
  kSyncDirectory,
  kSyncAll
};

enum class Verdict {
  kProceed,
  kFail,
  kPartly,  // a write: some of it is written; anything else: it is done; then it fails
  kSwallow  // nothing is done, and that is called success
};

inline std::unexpected<Error> injected(const std::string& what, const std::string& path) {
  return fail(ErrorCode::kKafkaStorageError, "can't " + what + " " + path + ": injected");
}

class MemoryFile;

class FaultFileSystem : public FileSystem {
 public:
  Faults faults;
  int64_t now_ms = 0;
  // Asked before every operation.
  std::function<Verdict(Operation, const std::string& path)> judge;
  // Whether nothing more fits; asked before every write for which nothing was set aside.
  std::function<bool()> is_full;
  bool can_reserve = true;
  bool forgets_reserved = false;  // says that space is set aside, and sets none aside
  // Decides what a crash leaves.
  std::mt19937 random;

  // Of the names that weren't synced, a power loss keeps those made first, or any.
  enum class NameOrder { kKept, kArbitrary };

  // The machine stops: names not synced in their directory and bytes not synced in their file are gone, but
  // for a random part of the bytes at the end when `keep` says how many (it is asked with the number of
  // unsynced ones).
  template <class Keep>
  void crash(Keep keep) {
    pending_names_.clear();
    restart_with([&](const Node& node) {
      const size_t unsynced =
          node.content.size() > node.synced.size() ? node.content.size() - node.synced.size() : 0;
      const size_t kept = unsynced == 0 ? 0 : keep(unsynced);
      Buffer left = node.synced;
      const auto begin = node.content.begin() + static_cast<std::ptrdiff_t>(node.synced.size());
      if (kept > 0) left.insert(left.end(), begin, begin + static_cast<std::ptrdiff_t>(kept));
      return left;
    });
  }
  void crash() {
    crash([](size_t) { return size_t{0}; });
  }
  // The same without mercy: every sector and every name that wasn't synced is there or not, by chance.
  void lose_power(NameOrder order) {
    size_t left = below(pending_names_.size() + 1);
    for (const NameChange& change : std::exchange(pending_names_, {})) {
      if (order == NameOrder::kKept ? left > 0 : below(2) == 0) change.apply_to(durable_names_);
      left -= left > 0 ? 1 : 0;
    }
    restart_with([this](const Node& node) { return torn(node); });
  }

  // By their owners, segments and others.
  size_t open_files() const {
    return static_cast<size_t>(
        std::count_if(opened_.begin(), opened_.end(), [](const auto& file) { return !file.expired(); }));
  }
  Buffer& content(const std::string& path) { return names_.at(path)->content; }
  Buffer& on_disk(const std::string& path) { return names_.at(path)->synced; }
  // Up to where a file has space, if that is beyond its end; else 0.
  int64_t reserved(const std::string& path) const {
    const Node& node = *names_.at(path);
    return node.reserved > static_cast<int64_t>(node.content.size()) ? node.reserved : 0;
  }
  bool has(const std::string& path) const { return names_.contains(path); }
  std::vector<std::string> paths() const {
    std::vector<std::string> all;
    for (const auto& [path, node] : names_) all.push_back(path);
    return all;
  }

  Result<std::shared_ptr<File>> open(const std::string& path, OpenMode mode) override;
  Result<bool> exists(const std::string& path) override {
    if (asked(Operation::kLook, path) != Verdict::kProceed) return injected("look up", path);
    return names_.contains(path) || directories_.contains(path);
  }
  Result<FileStatus> status(const std::string& path) override {
    if (asked(Operation::kLook, path) != Verdict::kProceed || !names_.contains(path))
      return injected("look up", path);
    return FileStatus{static_cast<int64_t>(names_[path]->content.size()), names_[path]->modified_ms};
  }
  Result<std::vector<DirectoryEntry>> list(const std::string& directory) override {
    if (asked(Operation::kLook, directory) != Verdict::kProceed) return injected("list", directory);
    std::set<DirectoryEntry> entries;
    const auto add = [&](const std::string& path, bool is_directory) {
      if (!path.starts_with(directory + "/")) return;
      const std::string rest = path.substr(directory.size() + 1);
      const size_t slash = rest.find('/');
      entries.insert({rest.substr(0, slash), is_directory || slash != std::string::npos});
    };
    for (const auto& [path, node] : names_) add(path, false);
    for (const std::string& path : directories_) add(path, true);
    return std::vector<DirectoryEntry>(entries.begin(), entries.end());
  }
  Result<> rename(const std::string& from, const std::string& to) override {
    const Verdict verdict = asked(Operation::kRename, from);
    if (verdict == Verdict::kSwallow) return {};
    if (verdict == Verdict::kFail) return injected("rename", from);
    if (directories_.contains(from)) return rename_directory(from, to);
    if (!names_.contains(from)) return injected("rename", from);
    change_names({from, to, names_[from], parent(from)});
    return verdict == Verdict::kProceed ? Result<>() : injected("rename", from);
  }
  Result<> remove(const std::string& path) override {
    const Verdict verdict = asked(Operation::kRemove, path);
    if (verdict == Verdict::kSwallow) return {};
    if (verdict == Verdict::kFail) return injected("remove", path);
    for (const std::string& name : paths()) {
      if (name == path || name.starts_with(path + "/")) change_names({name, {}, nullptr, parent(name)});
    }
    std::erase_if(directories_,
                  [&](const auto& item) { return item == path || item.starts_with(path + "/"); });
    return verdict == Verdict::kProceed ? Result<>() : injected("remove", path);
  }
  // Durable at once.
  Result<> create_directory(const std::string& path) override {
    for (size_t end = path.find('/', 1); end != std::string::npos; end = path.find('/', end + 1)) {
      directories_.insert(path.substr(0, end));
    }
    directories_.insert(path);
    return {};
  }
  Result<> sync_directory(const std::string& path) override {
    const Verdict verdict = asked(Operation::kSyncDirectory, path);
    if (verdict == Verdict::kSwallow) return {};
    if (faults.fail_sync || verdict == Verdict::kFail) return injected("sync", path);
    std::vector<NameChange> others;
    for (NameChange& change : pending_names_) {
      if (change.directory == path) {
        change.apply_to(durable_names_);
      } else {
        others.push_back(std::move(change));
      }
    }
    pending_names_ = std::move(others);
    return verdict == Verdict::kProceed ? Result<>() : injected("sync", path);
  }
  Result<> sync_all(const std::string& path) override {
    const Verdict verdict = asked(Operation::kSyncAll, path);
    if (verdict == Verdict::kSwallow) return {};
    if (faults.fail_sync || verdict == Verdict::kFail) return injected("sync all of", path);
    for (auto& [name, node] : names_) node->synced = node->content;
    pending_names_.clear();
    durable_names_ = names_;
    return verdict == Verdict::kProceed ? Result<>() : injected("sync all of", path);
  }

  // For the files.
  Verdict asked(Operation operation, const std::string& path) const {
    return judge ? judge(operation, path) : Verdict::kProceed;
  }
  size_t below(size_t limit) { return std::uniform_int_distribution<size_t>(0, limit - 1)(random); }

 private:
  using Names = std::map<std::string, std::shared_ptr<Node>>;

  // One change of a directory, which happens whole or not at all: `from` goes, `to` (if not empty) is `node`.
  struct NameChange {
    std::string from;
    std::string to;
    std::shared_ptr<Node> node;
    std::string directory;

    void apply_to(Names& names) const {
      if (!from.empty()) names.erase(from);
      if (!to.empty()) names[to] = node;
    }
  };

  static std::string parent(const std::string& path) { return path.substr(0, path.rfind('/')); }
  void change_names(NameChange change) {
    change.apply_to(names_);
    pending_names_.push_back(std::move(change));
  }
  Result<> rename_directory(const std::string& from, const std::string& to) {
    for (const std::string& name : paths()) {
      if (name.starts_with(from + "/"))
        change_names({name, to + name.substr(from.size()), names_[name], parent(from)});
    }
    directories_.erase(from);
    directories_.insert(to);
    return {};
  }

  template <class Left>
  void restart_with(Left left) {
    for (auto& [path, node] : names_) node->lost = true;
    names_ = durable_names_;
    for (auto& [path, node] : names_) {
      auto survivor = std::make_shared<Node>();
      survivor->content = left(*node);
      survivor->synced = survivor->content;
      survivor->modified_ms = node->modified_ms;
      node = std::move(survivor);
    }
    durable_names_ = names_;
  }

  size_t torn_size(const Node& node) {
    const size_t low = std::min(node.content.size(), node.synced.size());
    const size_t high = std::max(node.content.size(), node.synced.size());
    switch (below(4)) {
      case 0:
        return node.synced.size();
      case 1:
        return node.content.size();
      case 2:
        return low + below(high - low + 1);
      default:
        return std::clamp((low + below(high - low + 1)) / kSectorBytes * kSectorBytes, low, high);
    }
  }
  Buffer torn(const Node& node) {
    if (node.content == node.synced) return node.synced;
    Buffer left(torn_size(node));
    // Whole ranges of one kind happen as well as a mixture.
    const size_t mood = below(4);
    for (size_t at = 0; at < left.size(); at += kSectorBytes) {
      const size_t choice = mood == 3 ? below(3) : mood;
      const Buffer& source = choice == 0 ? node.synced : node.content;
      // What was on disk and isn't being changed stays; zeros are where nothing was.
      const bool is_new = choice == 2 && at >= node.synced.size();
      if (is_new || at >= source.size()) continue;
      const size_t n = std::min({kSectorBytes, source.size() - at, left.size() - at});
      std::copy_n(source.begin() + static_cast<std::ptrdiff_t>(at), n,
                  left.begin() + static_cast<std::ptrdiff_t>(at));
    }
    return left;
  }

  Names names_;
  Names durable_names_;
  std::vector<NameChange> pending_names_;  // in order, since the last sync of their directory
  std::set<std::string> directories_;
  std::vector<std::weak_ptr<MemoryFile>> opened_;
};

class MemoryFile final : public File {
 public:
  MemoryFile(std::shared_ptr<Node> node, std::string path, OpenMode mode, FaultFileSystem& files)
      : node_(std::move(node)),
        path_(std::move(path)),
        is_durable_(mode == OpenMode::kDurable),
        files_(files) {}

  Result<size_t> read_at(MutableBytes out, int64_t position) const override {
    if (files_.asked(Operation::kRead, path_) != Verdict::kProceed) return injected("read", path_);
    if (position >= static_cast<int64_t>(node_->content.size())) return 0;
    const size_t n = std::min(out.size(), node_->content.size() - static_cast<size_t>(position));
    std::copy_n(node_->content.begin() + position, n, out.begin());
    return n;
  }
  Result<> write_at(std::span<const Bytes> pieces, int64_t position) override {
    int64_t end = position;
    for (const Bytes piece : pieces) end += static_cast<int64_t>(piece.size());
    const bool is_aside = end <= node_->reserved;
    const Verdict verdict = files_.asked(is_durable_ ? Operation::kDurableWrite
                                         : is_aside  ? Operation::kWriteAside
                                                     : Operation::kWrite,
                                         path_);
    if (verdict == Verdict::kSwallow) return {};
    if (node_->lost || verdict == Verdict::kFail) return injected("write", path_);
    if (is_durable_ && files_.faults.fail_sync) return injected("write", path_);
    if (is_durable_ && !is_aligned(pieces, position))
      return fail(ErrorCode::kKafkaStorageError, "can't write " + path_ + ": Invalid argument");
    if (!is_aside && files_.is_full && files_.is_full())
      return fail(ErrorCode::kKafkaStorageError,
                  "can't write " + path_ +
                      ": No space left on device; free disk space or lower the topics' retention");
    const bool partly = verdict == Verdict::kPartly;
    for (const Bytes piece : pieces) {
      if (partly && is_durable_) {
        tear(piece, static_cast<size_t>(position));
        return injected("write", path_);
      }
      size_t n = partly ? files_.below(piece.size() + 1) : piece.size();
      int64_t& until_full = files_.faults.bytes_until_full;
      // What was set aside for the file is no longer free.
      const auto aside = static_cast<size_t>(std::max<int64_t>(node_->reserved - position, 0));
      if (until_full >= 0) n = std::min(n, aside + static_cast<size_t>(until_full));
      put(piece.first(n), static_cast<size_t>(position));
      position += static_cast<int64_t>(n);
      if (until_full >= 0 && n > aside) until_full -= static_cast<int64_t>(n - aside);
      if (n < piece.size()) return injected("write", path_);
    }
    return partly ? injected("write", path_) : Result<>();
  }
  Result<> truncate(int64_t size) override {
    const Verdict verdict = files_.asked(Operation::kTruncate, path_);
    if (verdict == Verdict::kSwallow) return {};
    if (files_.faults.fail_truncate || verdict == Verdict::kFail) return injected("truncate", path_);
    node_->content.resize(static_cast<size_t>(size));
    node_->reserved = std::min(node_->reserved, size);
    return verdict == Verdict::kProceed ? Result<>() : injected("truncate", path_);
  }
  Result<> sync_data() override {
    const Verdict verdict = files_.asked(Operation::kSync, path_);
    if (verdict == Verdict::kSwallow) return {};
    if (files_.faults.fail_sync || verdict == Verdict::kFail) return injected("sync", path_);
    node_->synced = node_->content;
    return verdict == Verdict::kProceed ? Result<>() : injected("sync", path_);
  }
  Result<int64_t> size() const override { return static_cast<int64_t>(node_->content.size()); }
  Result<Reserved> reserve(int64_t position, int64_t bytes) override {
    if (!files_.can_reserve) return Reserved::kNo;
    if (files_.asked(Operation::kReserve, path_) != Verdict::kProceed) return injected("reserve", path_);
    // Of a gap before it nothing is known, so nothing is what it reserves.
    const auto has_space_until = std::max(node_->reserved, static_cast<int64_t>(node_->content.size()));
    if (position > has_space_until) return Reserved::kYes;
    const int64_t more = std::max<int64_t>(position + bytes - has_space_until, 0);
    int64_t& until_full = files_.faults.bytes_until_full;
    if (more > 0 && ((files_.is_full && files_.is_full()) || (until_full >= 0 && until_full < more)))
      return fail(ErrorCode::kKafkaStorageError, "can't reserve space for " + path_ +
                                                     ": No space left on device; free disk space or lower "
                                                     "the topics' retention");
    if (until_full >= 0) until_full -= more;
    if (!files_.forgets_reserved) node_->reserved = std::max(node_->reserved, position + bytes);
    return Reserved::kYes;
  }
  int fd() const override { return -1; }
  const std::string& path() const override { return path_; }

 private:
  // As direct writes need it, which this is to notice.
  static bool is_aligned(std::span<const Bytes> pieces, int64_t position) {
    constexpr size_t kBlock = 4096;
    return static_cast<size_t>(position) % kBlock == 0 && std::ranges::all_of(pieces, [](Bytes piece) {
             return piece.size() % kBlock == 0 && reinterpret_cast<uintptr_t>(piece.data()) % kBlock == 0;
           });
  }
  void put(Bytes bytes, size_t position) {
    const size_t end = position + bytes.size();
    if (node_->content.size() < end) node_->content.resize(end);
    std::copy(bytes.begin(), bytes.end(), node_->content.begin() + static_cast<std::ptrdiff_t>(position));
    if (is_durable_) {
      if (node_->synced.size() < end) node_->synced.resize(end);
      std::copy(bytes.begin(), bytes.end(), node_->synced.begin() + static_cast<std::ptrdiff_t>(position));
    }
    node_->modified_ms = files_.now_ms;
  }
  // A write past the page cache that a crash interrupts: any of its sectors are written.
  void tear(Bytes bytes, size_t position) {
    const size_t mood = files_.below(3);
    const size_t until = files_.below(bytes.size() / kSectorBytes + 1) * kSectorBytes;
    for (size_t at = 0; at < bytes.size(); at += kSectorBytes) {
      const bool written = mood == 0 ? at < until : mood == 1 ? at >= until : files_.below(2) == 0;
      if (written) put(bytes.subspan(at, std::min(kSectorBytes, bytes.size() - at)), position + at);
    }
  }

  std::shared_ptr<Node> node_;
  std::string path_;
  const bool is_durable_;
  FaultFileSystem& files_;
};

inline Result<std::shared_ptr<File>> FaultFileSystem::open(const std::string& path, OpenMode mode) {
  const bool creates = mode == OpenMode::kCreate && !names_.contains(path);
  const Verdict verdict = asked(creates ? Operation::kCreate : Operation::kOpen, path);
  if (verdict == Verdict::kFail) return injected("open", path);
  if (!names_.contains(path)) {
    if (mode != OpenMode::kCreate) return injected("open", path);
    if (faults.fail_create) return injected("create", path);
    auto node = std::make_shared<Node>();
    node->modified_ms = now_ms;
    change_names({{}, path, std::move(node), parent(path)});
  }
  if (verdict == Verdict::kPartly) return injected("open", path);
  auto file = std::make_shared<MemoryFile>(names_[path], path, mode, *this);
  opened_.push_back(file);
  return file;
}

}  // namespace millrace::storage::test
