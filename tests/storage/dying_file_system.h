// A FaultFileSystem whose process dies at a chosen operation: from then on every change fails and does
// nothing, until the test has it crash and opens everything anew. Names become durable now and then before
// they are synced, as on a real disk.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "tests/storage/fault_file_system.h"

namespace millrace::storage::test {

class DyingFileSystem final : public FileSystem {
 public:
  explicit DyingFileSystem(FaultFileSystem& inner) : inner_(inner) {}

  // Changes until the end; -1: no end.
  int64_t operations_left = -1;
  int64_t operations = 0;
  // Asked at each change of a directory: whether it is durable at once.
  std::function<bool()> is_early = [] { return false; };
  // Files whose names end like this are never synced: a fault to be found. Empty: none.
  std::string unsynced_suffix;

  bool is_dead() const { return operations_left == 0; }
  void revive() { operations_left = -1; }

  Result<std::shared_ptr<File>> open(const std::string& path, OpenMode mode) override {
    const auto there = inner_.exists(path);
    if (mode == OpenMode::kCreate && there && !*there) {
      if (!live()) return injected("create", path);
      auto file = opened(inner_.open(path, mode));
      note_names(path);
      return file;
    }
    return opened(inner_.open(path, mode));
  }
  Result<bool> exists(const std::string& path) override { return inner_.exists(path); }
  Result<FileStatus> status(const std::string& path) override { return inner_.status(path); }
  Result<std::vector<DirectoryEntry>> list(const std::string& directory) override {
    return inner_.list(directory);
  }
  Result<> rename(const std::string& from, const std::string& to) override {
    if (!live()) return injected("rename", from);
    auto done = inner_.rename(from, to);
    note_names(to);
    return done;
  }
  Result<> remove(const std::string& path) override {
    if (!live()) return injected("remove", path);
    auto done = inner_.remove(path);
    note_names(path);
    return done;
  }
  Result<> create_directory(const std::string& path) override { return inner_.create_directory(path); }
  Result<> sync_directory(const std::string& path) override {
    if (!live()) return injected("sync", path);
    return inner_.sync_directory(path);
  }
  Result<> sync_all(const std::string& path) override {
    if (!live()) return injected("sync", path);
    return inner_.sync_all(path);
  }

 private:
  class DyingFile final : public File {
   public:
    DyingFile(DyingFileSystem& owner, std::shared_ptr<File> inner)
        : owner_(owner), inner_(std::move(inner)) {}

    Result<size_t> read_at(MutableBytes out, int64_t position) const override {
      return inner_->read_at(out, position);
    }
    Result<> write_at(std::span<const Bytes> pieces, int64_t position) override {
      if (!owner_.live()) return injected("write", path());
      return inner_->write_at(pieces, position);
    }
    Result<> truncate(int64_t size) override {
      if (!owner_.live()) return injected("truncate", path());
      return inner_->truncate(size);
    }
    Result<> sync_data() override {
      if (!owner_.live()) return injected("sync", path());
      if (!owner_.unsynced_suffix.empty() && path().ends_with(owner_.unsynced_suffix)) return {};
      return inner_->sync_data();
    }
    Result<int64_t> size() const override { return inner_->size(); }
    Result<Reserved> reserve(int64_t position, int64_t bytes) override {
      return inner_->reserve(position, bytes);
    }
    int fd() const override { return -1; }
    const std::string& path() const override { return inner_->path(); }

   private:
    DyingFileSystem& owner_;
    const std::shared_ptr<File> inner_;
  };

  bool live() {
    if (operations_left == 0) return false;
    if (operations_left > 0) --operations_left;
    ++operations;
    return operations_left != 0;
  }
  Result<std::shared_ptr<File>> opened(Result<std::shared_ptr<File>> file) {
    if (!file) return file;
    return std::make_shared<DyingFile>(*this, std::move(*file));
  }
  void note_names(const std::string& path) {
    if (is_early()) (void)inner_.sync_directory(path.substr(0, path.rfind('/')));
  }

  FaultFileSystem& inner_;
};

}  // namespace millrace::storage::test
