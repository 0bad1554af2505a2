// A file system in memory that crashes: it knows what was synced, and loses the rest when told to. Writes,
// syncs, truncations and creations can be made to fail.
#pragma once

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "storage/file_system.h"

namespace millrace::storage::test {

struct Node {
  Buffer content;
  Buffer synced;
  int64_t modified_ms = 0;
  bool lost = false;  // descriptors of before a crash write to nothing
};

struct Faults {
  int64_t bytes_until_full = -1;  // -1: never; a write beyond writes what fits and fails
  bool fail_truncate = false;
  bool fail_sync = false;
  bool fail_create = false;
};

inline std::unexpected<Error> injected(const std::string& what, const std::string& path) {
  return fail(ErrorCode::kKafkaStorageError, "can't " + what + " " + path + ": injected");
}

class MemoryFile final : public File {
 public:
  MemoryFile(std::shared_ptr<Node> node, std::string path, OpenMode mode, Faults& faults, int64_t& now_ms)
      : node_(std::move(node)),
        path_(std::move(path)),
        is_durable_(mode == OpenMode::kDurable),
        faults_(faults),
        now_ms_(now_ms) {}

  Result<size_t> read_at(MutableBytes out, int64_t position) const override {
    if (position >= static_cast<int64_t>(node_->content.size())) return 0;
    const size_t n = std::min(out.size(), node_->content.size() - static_cast<size_t>(position));
    std::copy_n(node_->content.begin() + position, n, out.begin());
    return n;
  }
  Result<> write_at(std::span<const Bytes> pieces, int64_t position) override {
    if (node_->lost) return injected("write", path_);
    if (is_durable_ && faults_.fail_sync) return injected("write", path_);
    for (const Bytes piece : pieces) {
      size_t n = piece.size();
      if (faults_.bytes_until_full >= 0) n = std::min(n, static_cast<size_t>(faults_.bytes_until_full));
      const size_t end = static_cast<size_t>(position) + n;
      if (node_->content.size() < end) node_->content.resize(end);
      std::copy_n(piece.begin(), n, node_->content.begin() + position);
      if (is_durable_) {
        if (node_->synced.size() < end) node_->synced.resize(end);
        std::copy_n(piece.begin(), n, node_->synced.begin() + position);
      }
      node_->modified_ms = now_ms_;
      position += static_cast<int64_t>(n);
      if (faults_.bytes_until_full >= 0) faults_.bytes_until_full -= static_cast<int64_t>(n);
      if (n < piece.size()) return injected("write", path_);
    }
    return {};
  }
  Result<> truncate(int64_t size) override {
    if (faults_.fail_truncate) return injected("truncate", path_);
    node_->content.resize(static_cast<size_t>(size));
    return {};
  }
  Result<> sync_data() override {
    if (faults_.fail_sync) return injected("sync", path_);
    node_->synced = node_->content;
    return {};
  }
  Result<int64_t> size() const override { return static_cast<int64_t>(node_->content.size()); }
  Result<> reserve(int64_t) override { return {}; }
  int fd() const override { return -1; }
  const std::string& path() const override { return path_; }

 private:
  std::shared_ptr<Node> node_;
  std::string path_;
  const bool is_durable_;
  Faults& faults_;
  int64_t& now_ms_;
};

class FaultFileSystem : public FileSystem {
 public:
  Faults faults;
  int64_t now_ms = 0;

  // The machine stops: names not synced in their directory and bytes not synced in their file are gone, but
  // for a random part of the bytes at the end when `keep` says how many (it is asked with the number of
  // unsynced ones).
  template <class Keep>
  void crash(Keep keep) {
    for (auto& [path, node] : names_) node->lost = true;
    names_ = durable_names_;
    for (auto& [path, node] : names_) {
      auto survivor = std::make_shared<Node>(*node);
      survivor->lost = false;
      const size_t unsynced =
          node->content.size() > node->synced.size() ? node->content.size() - node->synced.size() : 0;
      const size_t kept = unsynced == 0 ? 0 : keep(unsynced);
      survivor->content = node->synced;
      survivor->content.insert(
          survivor->content.end(), node->content.begin() + static_cast<std::ptrdiff_t>(node->synced.size()),
          node->content.begin() + static_cast<std::ptrdiff_t>(node->synced.size() + kept));
      survivor->synced = survivor->content;
      node = survivor;
    }
    durable_names_ = names_;
  }
  void crash() {
    crash([](size_t) { return size_t{0}; });
  }

  // By their owners, segments and others.
  size_t open_files() const {
    return static_cast<size_t>(
        std::count_if(opened_.begin(), opened_.end(), [](const auto& file) { return !file.expired(); }));
  }
  Buffer& content(const std::string& path) { return names_.at(path)->content; }
  bool has(const std::string& path) const { return names_.contains(path); }
  std::vector<std::string> paths() const {
    std::vector<std::string> all;
    for (const auto& [path, node] : names_) all.push_back(path);
    return all;
  }

  Result<std::shared_ptr<File>> open(const std::string& path, OpenMode mode) override {
    if (!names_.contains(path)) {
      if (mode != OpenMode::kCreate) return injected("open", path);
      if (faults.fail_create) return injected("create", path);
      names_[path] = std::make_shared<Node>();
      names_[path]->modified_ms = now_ms;
    }
    auto file = std::make_shared<MemoryFile>(names_[path], path, mode, faults, now_ms);
    opened_.push_back(file);
    return file;
  }
  Result<bool> exists(const std::string& path) override {
    return names_.contains(path) || directories_.contains(path);
  }
  Result<FileStatus> status(const std::string& path) override {
    if (!names_.contains(path)) return injected("look up", path);
    return FileStatus{static_cast<int64_t>(names_[path]->content.size()), names_[path]->modified_ms};
  }
  Result<std::vector<DirectoryEntry>> list(const std::string& directory) override {
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
    if (directories_.contains(from)) return rename_directory(from, to);
    if (!names_.contains(from)) return injected("rename", from);
    names_[to] = names_[from];
    names_.erase(from);
    return {};
  }
  Result<> remove(const std::string& path) override {
    std::erase_if(names_,
                  [&](const auto& item) { return item.first == path || item.first.starts_with(path + "/"); });
    std::erase_if(directories_,
                  [&](const auto& item) { return item == path || item.starts_with(path + "/"); });
    return {};
  }
  Result<> create_directory(const std::string& path) override {
    for (size_t end = path.find('/', 1); end != std::string::npos; end = path.find('/', end + 1)) {
      directories_.insert(path.substr(0, end));
    }
    directories_.insert(path);
    return {};
  }
  Result<> sync_directory(const std::string& path) override {
    if (faults.fail_sync) return injected("sync", path);
    const auto in_directory = [&](const std::string& name) {
      return name.substr(0, name.rfind('/')) == path;
    };
    std::erase_if(durable_names_, [&](const auto& item) { return in_directory(item.first); });
    for (const auto& [name, node] : names_) {
      if (in_directory(name)) durable_names_[name] = node;
    }
    return {};
  }
  Result<> sync_all(const std::string& path) override {
    if (faults.fail_sync) return injected("sync all of", path);
    for (auto& [name, node] : names_) node->synced = node->content;
    durable_names_ = names_;
    return {};
  }

 private:
  Result<> rename_directory(const std::string& from, const std::string& to) {
    std::map<std::string, std::shared_ptr<Node>> moved;
    for (const auto& [name, node] : names_) {
      moved[name.starts_with(from + "/") ? to + name.substr(from.size()) : name] = node;
    }
    names_ = std::move(moved);
    directories_.erase(from);
    directories_.insert(to);
    return {};
  }

  std::map<std::string, std::shared_ptr<Node>> names_;
  std::map<std::string, std::shared_ptr<Node>> durable_names_;
  std::set<std::string> directories_;
  std::vector<std::weak_ptr<MemoryFile>> opened_;
};

}  // namespace millrace::storage::test
