// Records into a pipe whose reader takes its time, for a source that has something to keep up with.
#include "tools/record_output.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>
#include <csignal>
#include <cstdlib>
#include <functional>
#include <map>
#include <string>
#include <utility>

#include "tools/client/deadline.h"
#include "tools/interrupt.h"

using namespace millrace;
using namespace millrace::tools;

namespace {

constexpr int64_t kEveryMs = 20;

struct FakeSource final : RecordSource {
  Deadline due = Deadline::after_ms(kEveryMs);
  int kept = 0;
  int all_done = 0;
  std::map<int32_t, int64_t> done;
  // What keep_up() does at its nth call, from 1 on.
  std::function<std::vector<int32_t>(int)> on_keep_up = [](int) { return std::vector<int32_t>{}; };

  Result<const ConsumedRecord*> next(int64_t) override { return nullptr; }
  bool finished() const override { return true; }
  Result<void> done_with_all() override {
    ++all_done;
    return {};
  }
  std::optional<int64_t> due_in_ms() const override { return due.left_ms(); }
  Result<std::vector<int32_t>> keep_up() override {
    due = Deadline::after_ms(kEveryMs);
    return on_keep_up(++kept);
  }
  void done_with(int32_t partition, int64_t next_offset) override { done[partition] = next_offset; }
};

// A pipe of one page, so that little fills it.
struct Pipe {
  int reader = -1;
  Console console;

  Pipe() {
    std::array<int, 2> ends = {};
    REQUIRE(pipe(ends.data()) == 0);
    reader = ends[0];
    REQUIRE(fcntl(ends[1], F_SETPIPE_SZ, 4096) == 4096);
    REQUIRE(fcntl(reader, F_SETFL, O_NONBLOCK) == 0);
    console.out = fdopen(ends[1], "w");
  }
  ~Pipe() {
    std::fclose(console.out);
    close(reader);
  }
  // What is in it now.
  std::string take() const {
    std::string all;
    std::array<char, 1000> some = {};
    for (ssize_t size = 0; (size = read(reader, some.data(), some.size())) > 0;)
      all.append(some.data(), static_cast<size_t>(size));
    return all;
  }
};

// Its number, the same letter up to the size, and a line's end.
std::string record(int32_t partition, int64_t offset, size_t size) {
  std::string text = std::to_string(partition) + ":" + std::to_string(offset) + " ";
  text.resize(size - 1, 'x');
  return text + "\n";
}

void add(RecordOutput& output, int32_t partition, int64_t offset, size_t size) {
  output.text() += record(partition, offset, size);
  output.add(partition, offset);
}

}  // namespace

TEST_CASE("while a pipe is full, its writer keeps up with its source's duties") {
  Pipe pipe;
  FakeSource source;
  RecordOutput output(pipe.console, source);
  std::string expected;
  std::string got;
  for (int64_t offset = 0; offset < 30; ++offset) {
    add(output, 0, offset, 1000);
    expected += record(0, offset, 1000);
  }
  std::vector<int64_t> done_at;
  source.on_keep_up = [&](int call) -> std::vector<int32_t> {
    done_at.push_back(source.done[0]);
    // Nobody reads for a while.
    if (call > 5) got += pipe.take();
    return {};
  };
  REQUIRE(output.write());
  got += pipe.take();
  CHECK(got == expected);
  CHECK(source.kept > 5);
  // Done with is what the pipe has taken, and no more.
  CHECK(done_at[0] == 4);
  CHECK(done_at[4] == 4);
  CHECK(done_at[6] == 8);
  CHECK(source.done[0] == 30);
  CHECK(source.all_done == 1);
  CHECK(output.records() == 30);
  CHECK(output.empty());
}

TEST_CASE("what waits for a full pipe is dropped when it is somebody else's, and records stay whole") {
  Pipe pipe;
  FakeSource source;
  RecordOutput output(pipe.console, source);
  const size_t size = GENERATE(size_t{1500}, size_t{3000}, size_t{6000});
  for (int64_t offset = 0; offset < 6; ++offset) {
    add(output, 0, offset, size);
    add(output, 1, offset, size);
  }
  std::string got;
  int64_t done_when_lost = 0;
  source.on_keep_up = [&](int call) -> std::vector<int32_t> {
    if (call > 2) got += pipe.take();
    if (call != 2) return {};
    done_when_lost = source.done[0];
    return {0};
  };
  REQUIRE(output.write());
  got += pipe.take();
  // Of partition 0 the record that had been written by then, or begun; of the other all.
  const int64_t of_lost = 1;
  CHECK(done_when_lost == (size > 4096 ? 0 : of_lost));
  std::string expected;
  for (int64_t offset = 0; offset < 6; ++offset) {
    if (offset < of_lost) expected += record(0, offset, size);
    expected += record(1, offset, size);
  }
  CHECK(got == expected);
  CHECK(source.done[1] == 6);
  CHECK(output.records() == 6 + of_lost);
}

TEST_CASE("a signal ends the wait for a full pipe, and what wasn't written isn't done with") {
  const InterruptScope interrupts;
  Pipe pipe;
  FakeSource source;
  RecordOutput output(pipe.console, source);
  for (int64_t offset = 0; offset < 10; ++offset) add(output, 0, offset, 1000);
  source.on_keep_up = [](int) -> std::vector<int32_t> {
    std::raise(SIGINT);
    return {};
  };
  REQUIRE(output.write());
  REQUIRE(output.write());
  CHECK(pipe.take().size() == 4000);
  CHECK(source.done[0] == 4);
  CHECK(source.all_done == 0);
}

TEST_CASE("who reads no more is said") {
  Pipe pipe;
  FakeSource source;
  RecordOutput output(pipe.console, source);
  const auto before = std::signal(SIGPIPE, SIG_IGN);
  add(output, 0, 0, 9000);
  source.on_keep_up = [&](int) -> std::vector<int32_t> {
    close(std::exchange(pipe.reader, -1));
    return {};
  };
  const Result<void> written = output.write();
  std::signal(SIGPIPE, before);
  REQUIRE_FALSE(written);
  CHECK(written.error().message.find("Broken pipe") != std::string::npos);
  CHECK(source.all_done == 0);
  CHECK(source.done.empty());
}

TEST_CASE("what is no file takes everything at once") {
  char* text = nullptr;
  size_t size = 0;
  Console console;
  console.out = open_memstream(&text, &size);
  FakeSource source;
  RecordOutput output(console, source);
  add(output, 0, 0, 9000);
  CHECK(output.write());
  CHECK(std::string_view(text, size) == record(0, 0, 9000));
  CHECK(source.all_done == 1);
  std::fclose(console.out);
  std::free(text);
}
