#include "tools/input_reader.h"

#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>
#include <vector>

using millrace::tools::InputReader;
using State = InputReader::State;

namespace {

struct Pipe {
  std::array<int, 2> ends{};
  Pipe() { REQUIRE(pipe(ends.data()) == 0); }
  ~Pipe() {
    close(ends[0]);
    close_writer();
  }
  void write(std::string_view text) {
    REQUIRE(::write(ends[1], text.data(), text.size()) == static_cast<ssize_t>(text.size()));
  }
  void close_writer() {
    if (ends[1] >= 0) close(ends[1]);
    ends[1] = -1;
  }
};

std::vector<std::string> read_all(InputReader& reader) {
  std::vector<std::string> records;
  std::string_view record;
  while (reader.next(record, 0) == State::kRecord) records.emplace_back(record);
  return records;
}

}  // namespace

TEST_CASE("records are cut at the terminator, the last needs none") {
  Pipe pipe;
  pipe.write("a\n\nbc\nrest");
  pipe.close_writer();
  InputReader reader(pipe.ends[0], "\n");
  CHECK(read_all(reader) == std::vector<std::string>{"a", "", "bc", "rest"});
  std::string_view record;
  CHECK(reader.next(record, 0) == State::kEnd);
}

TEST_CASE("a record that comes in pieces is one, and its terminator too") {
  Pipe pipe;
  InputReader reader(pipe.ends[0], "||");
  std::string_view record;
  CHECK(reader.next(record, 0) == State::kNothingYet);
  pipe.write("one|");
  CHECK(reader.next(record, 0) == State::kNothingYet);
  pipe.write("|two");
  REQUIRE(reader.next(record, 0) == State::kRecord);
  CHECK(record == "one");
  CHECK(reader.next(record, 0) == State::kNothingYet);
  pipe.close_writer();
  REQUIRE(reader.next(record, 0) == State::kRecord);
  CHECK(record == "two");
  CHECK(reader.next(record, 0) == State::kEnd);
}

TEST_CASE("empty input has no records") {
  Pipe pipe;
  pipe.close_writer();
  InputReader reader(pipe.ends[0], "\n");
  CHECK(read_all(reader).empty());
}
