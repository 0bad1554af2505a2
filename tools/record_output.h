// Records on their way to standard output.
//
// A reader of a pipe may take its time. Who writes there for a source that has something to keep up with (a
// group's member: heartbeats, commits) must not wait in a write for longer than that allows, nor go on with
// records that have become somebody else's. Written is what the pipe has taken, not what its reader has.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>

#include "protocol/result.h"
#include "tools/client/record_source.h"
#include "tools/console.h"

namespace millrace::tools {

class RecordOutput {
 public:
  // Both must outlive it.
  RecordOutput(Console& console, RecordSource& source) : console_(console), source_(source) {}

  // The next record's text goes to the end of this; then call add().
  std::string& text() { return text_; }
  // What was appended is the text of that record, all of it.
  void add(int32_t partition, int64_t offset);
  bool empty() const { return text_.empty(); }
  // The records that were written or are going to be.
  int64_t records() const { return written_ + static_cast<int64_t>(waiting_.size()); }

  // Writes all there is, and tells the source what is done with; meanwhile keeps up with what the source has
  // to do, and drops records that aren't its own any more. Records are written whole, or not at all. After a
  // signal it ends before the next record that it would have to wait for; that one and the others are
  // dropped. Errors: kNetworkException when nobody reads any more; those of the source.
  Result<void> write();

 private:
  struct Record {
    size_t end = 0;  // in the text
    int32_t partition = 0;
    int64_t offset = 0;
  };

  Result<void> write_beside_source();
  Result<void> write_some(int fd);
  Result<void> keep_up();
  void drop_records_of(const std::vector<int32_t>& partitions);
  void drop_all();
  // Nothing of the next record is written yet.
  bool between_records() const { return at_ == begin_; }

  Console& console_;
  RecordSource& source_;
  std::string text_;
  std::deque<Record> waiting_;
  size_t begin_ = 0;  // of the first waiting record, in the text
  size_t at_ = 0;     // up to where the text is written
  int64_t written_ = 0;
  bool cut_short_ = false;
};

}  // namespace millrace::tools
