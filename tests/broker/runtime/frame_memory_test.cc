#include "broker/runtime/frame_memory.h"

#include <malloc.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstring>
#include <random>
#include <thread>
#include <utility>
#include <vector>

using millrace::runtime::FrameMemory;

namespace {

struct Frame {
  explicit Frame(size_t the_size) : size(the_size), memory(FrameMemory::allocate(size)) {}
  void fill(int mark) { std::memset(memory, mark, size); }
  bool is_filled(int mark) const {
    const auto* bytes = static_cast<const unsigned char*>(memory);
    return std::all_of(bytes, bytes + size, [mark](unsigned char byte) { return byte == mark; });
  }
  void free() { FrameMemory::free(std::exchange(memory, nullptr), size); }

  size_t size;
  void* memory;
};

}  // namespace

TEST_CASE("frames of all sizes keep to themselves, whatever was freed before", "[frame_memory]") {
  std::mt19937 random(1);
  std::vector<std::pair<Frame, int>> frames;
  int mark = 0;
  for (int step = 0; step < 20'000; ++step) {
    if (frames.size() < 100 || random() % 2 == 0) {
      Frame frame(1 + random() % 3000);
      mark = (mark + 1) % 256;
      frame.fill(mark);
      frames.emplace_back(frame, mark);
    } else {
      std::swap(frames[random() % frames.size()], frames.back());
      auto& [frame, expected] = frames.back();
      REQUIRE(frame.is_filled(expected));
      REQUIRE(reinterpret_cast<uintptr_t>(frame.memory) % alignof(std::max_align_t) == 0);
      frame.free();
      frames.pop_back();
    }
  }
  for (auto& [frame, expected] : frames) {
    CHECK(frame.is_filled(expected));
    frame.free();
  }
  FrameMemory::release();
}

TEST_CASE("a frame may be freed on another thread than its own", "[frame_memory]") {
  std::vector<Frame> frames;
  std::thread maker([&] {
    for (size_t i = 0; i < 1000; ++i) frames.emplace_back(1 + i).fill(1);
    FrameMemory::release();
  });
  maker.join();
  for (Frame& frame : frames) {
    CHECK(frame.is_filled(1));
    frame.free();
  }
  for (Frame& frame : frames) frame = Frame(frame.size);
  for (Frame& frame : frames) frame.fill(2);
  for (Frame& frame : frames) frame.free();
  FrameMemory::release();
}

// Where a sanitizer looks on, nothing is kept.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)

TEST_CASE("what a frame leaves goes to the next of about its size", "[frame_memory]") {
  FrameMemory::release();
  Frame first(100);
  void* const place = first.memory;
  first.free();
  Frame other(1000);
  CHECK(other.memory != place);
  Frame next(70);
  CHECK(next.memory == place);
  other.free();
  next.free();
  FrameMemory::release();
}

TEST_CASE("no more than a MiB is kept, and all of it is given back when asked for", "[frame_memory]") {
  constexpr size_t kMiB = 1 << 20;
  constexpr size_t kSlack = kMiB / 4;  // what malloc puts aside for itself
  FrameMemory::release();
  const size_t before = mallinfo2().uordblks;
  std::vector<Frame> frames;
  for (int i = 0; i < 4000; ++i) frames.emplace_back(1000);
  CHECK(mallinfo2().uordblks > before + 3 * kMiB);
  for (Frame& frame : frames) frame.free();
  frames = {};
  CHECK(mallinfo2().uordblks > before + kMiB - kSlack);
  CHECK(mallinfo2().uordblks < before + kMiB + kSlack);
  FrameMemory::release();
  CHECK(mallinfo2().uordblks < before + kSlack);
}

#endif
