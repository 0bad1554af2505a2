// A log together with a journal, and the rounds that the broker drives.
#pragma once

#include <memory>
#include <vector>

#include "tests/storage/log_fixture.h"

namespace millrace::storage::test {

struct JournaledLog : LogFixture {
  std::unique_ptr<JournalDirectory> directory;
  std::unique_ptr<Journal> journal;

  JournaledLog() {
    options.config.flush_messages = 1;
    open_with_journal(false);
  }

  // What it holds back is given back to the journal.
  ~JournaledLog() { log.reset(); }

  Result<> try_open_with_journal(bool clean) {
    log.reset();
    auto opened = JournalDirectory::open(files, "/data/journal", !clean);
    REQUIRE(opened);
    directory = std::move(*opened);
    journal = std::make_unique<Journal>(directory->next_run(1), JournalDirectory::kFileBytes);
    options.journal = journal.get();
    options.journaled = directory->recovered(options.id);
    if (auto done = try_open(clean); !done) return done;
    directory->mark_recovered(options.id);
    directory->keep_for({});
    auto file = directory->take_file(journal->run());
    REQUIRE(file);
    REQUIRE(journal->add_file(std::move(*file)) == nullptr);
    return {};
  }
  void open_with_journal(bool clean) {
    const auto opened = try_open_with_journal(clean);
    if (!opened) FAIL(opened.error().message);
  }
  // One round of the commit loop; returns whether it took the journal.
  bool commit() {
    const auto commit = log->take_commit();
    REQUIRE(commit);
    for (const Journal::Write& group : journal->take()) REQUIRE(Journal::write(group));
    journal->done();
    REQUIRE(commit->dirty.sync(files));
    if (!commit->journaled) log->mark_synced(commit->dirty);
    CHECK(commit->end_offset == log->log_end_offset());
    return commit->journaled;
  }
  void checkpoint() {
    auto checkpoint = log->begin_checkpoint();
    REQUIRE(checkpoint);
    REQUIRE(checkpoint->dirty.sync(files));
    checkpoint->store();
    log->finish_checkpoint(*checkpoint);
  }
  void lose_power_and_open() {
    log.reset();
    files.crash();
    open_with_journal(false);
  }
  // What the log holds back is in its file from then on.
  void write_held() { REQUIRE(log->dirty_files()); }
  void append_large() { append(batch_of(std::vector<int64_t>(1, kNow), Log::kDirectSyncBytes)); }
};

}  // namespace millrace::storage::test
