// The coroutine type of the broker, and how a coroutine suspends on its shard.
//
// Every coroutine runs on one shard's io_context from start to end: a Task is never resumed by another
// thread. GCC 12 destroys an aggregate temporary or a capturing lambda inside a co_await expression twice,
// and what is awaited in a bare condition before it is resumed: name it, then await it, then test it.
#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <type_traits>

#include "broker/runtime/frame_memory.h"

namespace millrace::runtime {

namespace asio = boost::asio;

using Executor = asio::io_context::executor_type;

}  // namespace millrace::runtime

// Where the frames of Task get their memory, in place of Asio's own way, which keeps two frames.
template <>
inline void* boost::asio::detail::awaitable_frame_base<millrace::runtime::Executor>::operator new(
    size_t bytes) {
  return millrace::runtime::FrameMemory::allocate(bytes);
}
template <>
inline void boost::asio::detail::awaitable_frame_base<millrace::runtime::Executor>::operator delete(
    void* frame, size_t bytes) {
  millrace::runtime::FrameMemory::free(frame, bytes);
}

namespace millrace::runtime {

template <class T = void>
using Task = asio::awaitable<T, Executor>;

// The completion token of Asio's own operations: `co_await socket.async_read_some(buffer, kUseTask)`.
using UseTask = asio::use_awaitable_t<Executor>;
inline constexpr UseTask kUseTask{};

// What Asio hands to an operation that resumes the awaiting coroutine. Calling it resumes the coroutine at
// once, on the calling thread (which must be the shard's); destroying it uncalled destroys the coroutine.
using ResumeHandler = asio::async_result<UseTask, void()>::handler_type;

template <class T>
struct TaskResult {
  using Type = T;
  static constexpr bool kIsTask = false;
};
template <class T>
struct TaskResult<Task<T>> {
  using Type = T;
  static constexpr bool kIsTask = true;
};

// What `call(f)` yields: f's result, or the result of the Task that f returns.
template <class F>
using CallResult = typename TaskResult<std::invoke_result_t<F&>>::Type;
template <class F>
inline constexpr bool kReturnsTask = TaskResult<std::invoke_result_t<F&>>::kIsTask;

}  // namespace millrace::runtime
