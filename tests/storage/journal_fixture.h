// A journal in its directory on the fault file system.
#pragma once

#include <catch2/catch.hpp>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "storage/journal.h"
#include "storage/journal_directory.h"
#include "tests/storage/journal_bytes.h"

namespace millrace::storage::test {

struct JournalFixture {
  FaultFileSystem files;
  std::unique_ptr<JournalDirectory> directory;
  std::unique_ptr<Journal> journal;
  uint64_t last_salt = 0;
  int64_t file_bytes = JournalDirectory::kFileBytes;
  size_t group_bytes = kJournalMaxGroupBytes;

  void open(bool read) {
    auto opened = JournalDirectory::open(files, "/data/journal", read, file_bytes);
    REQUIRE(opened);
    directory = std::move(*opened);
    journal = std::make_unique<Journal>(directory->next_run(++last_salt), file_bytes, group_bytes);
  }
  void add_file() {
    auto file = directory->take_file(journal->run());
    REQUIRE(file);
    REQUIRE(journal->add_file(std::move(*file)) == nullptr);
  }
  // Anew, with one file.
  void begin() {
    open(false);
    add_file();
  }
  // A group of one batch of kOrders for each of so many offsets, from 0 on.
  void commit_batches(int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      REQUIRE(journal->stage(kOrders, i, batch_at(i)));
      commit();
    }
  }
  // The same, of batches of which five fill a file; takes the files that it needs.
  void commit_large_batches(int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      if (journal->wants_file()) add_file();
      REQUIRE(journal->stage(kOrders, i, batch_at(i, 1, 3 << 19)));
      commit();
    }
  }
  // Of the one group that is staged; returns where it went.
  Journal::Write commit() {
    const auto groups = journal->take();
    REQUIRE(groups.size() == 1);
    REQUIRE(Journal::write(groups[0]));
    journal->done();
    return groups[0];
  }
  // What was read isn't needed any more: the file is taken and written to, and that survives a power loss.
  void check_the_only_file_works() {
    directory->keep_for({});
    add_file();
    REQUIRE(journal->stage(kOrders, 0, batch_at(0)));
    commit();
    files.crash();
    open(true);
    CHECK(recovered(kOrders) == std::vector<int64_t>{0});
    CHECK(files.paths().size() == 1);
  }
  // Takes a file; the change behind so many fails, if there are as many, and the power goes.
  void crash_while_taking_a_file(int survives) {
    int steps = 0;
    files.judge = [&](Operation operation, const std::string&) {
      const bool changes = operation == Operation::kDurableWrite || operation == Operation::kTruncate ||
                           operation == Operation::kSync;
      return changes && steps++ == survives ? Verdict::kFail : Verdict::kProceed;
    };
    const bool taken = directory->take_file(journal->run()).has_value();
    CHECK(taken == (steps <= survives));
    files.judge = nullptr;
    files.crash();
  }
  // Opens it to read what is there; the names of the files that were read whole. All are looked at first.
  std::set<std::string> open_and_note_reads() {
    std::map<std::string, int> opened;
    files.judge = [&](Operation operation, const std::string& path) {
      if (operation == Operation::kOpen) ++opened[path.substr(path.rfind('/') + 1)];
      return Verdict::kProceed;
    };
    open(true);
    files.judge = nullptr;
    std::set<std::string> read;
    for (const auto& [name, times] : opened) {
      if (times > 1) read.insert(name);
    }
    return read;
  }
  std::vector<int64_t> recovered(const TopicIdPartition& partition) const {
    std::vector<int64_t> offsets;
    for (const JournaledBatch& batch : directory->recovered(partition)) {
      const auto bytes = read_journaled(batch);
      REQUIRE(bytes);
      offsets.push_back(protocol::read_batch_header(*bytes)->base_offset);
    }
    return offsets;
  }
};

}  // namespace millrace::storage::test
