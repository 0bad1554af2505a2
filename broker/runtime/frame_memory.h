// Memory for the frames of coroutines, and for what else each request has one of. A request takes some
// twenty, of always the same sizes, and many requests at once take more than malloc keeps at hand, so each
// thread keeps what they leave for the next ones of the same size.
#pragma once

#include <array>
#include <cstddef>
#include <new>
#include <utility>

namespace millrace::runtime {

class FrameMemory {
 public:
  // Memory for a frame, aligned for any type; throws std::bad_alloc. From any thread.
  static void* allocate(size_t bytes) {
    const size_t size_class = class_of(bytes);
    if (!kKept || size_class >= kClasses) return ::operator new(bytes);
    Kept& kept = kept_;
    Free* const frame = kept.lists[size_class];
    if (frame == nullptr) return ::operator new(size_of(size_class));
    kept.lists[size_class] = frame->next;
    kept.bytes -= size_of(size_class);
    return frame;
  }

  // The `frame` of so many bytes that allocate() returned, on this or another thread, which keeps it now.
  static void free(void* frame, size_t bytes) noexcept {
    const size_t size_class = class_of(bytes);
    Kept& kept = kept_;
    if (!kKept || size_class >= kClasses || kept.bytes + size_of(size_class) > kMaxKeptBytes) {
      ::operator delete(frame);
      return;
    }
    kept.lists[size_class] = new (frame) Free{kept.lists[size_class]};
    kept.bytes += size_of(size_class);
  }

  // Gives back what the calling thread keeps. At its end: the thread's exit doesn't.
  static void release() noexcept {
    for (Free*& list : kept_.lists) {
      while (list != nullptr) ::operator delete(std::exchange(list, list->next));
    }
    kept_.bytes = 0;
  }

 private:
  // The sanitizers are to see who uses a frame after its end.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  static constexpr bool kKept = false;
#else
  static constexpr bool kKept = true;
#endif
  static constexpr size_t kStep = 64;
  static constexpr size_t kClasses = 32;  // larger frames are few
  static constexpr size_t kMaxKeptBytes = 1 << 20;

  struct Free {
    Free* next;
  };
  // Without a constructor and a destructor, so that a look at it costs no call.
  struct Kept {
    std::array<Free*, kClasses> lists;
    size_t bytes;
  };

  static size_t class_of(size_t bytes) { return (bytes - 1) / kStep; }
  static size_t size_of(size_t size_class) { return (size_class + 1) * kStep; }

  static inline constinit thread_local Kept kept_ = {};
};

}  // namespace millrace::runtime
