---@meta

--- Wait for any number of tasks, let the first error stop the rest, limit how many run, pass deadlines down: for
--- coroutines of one Lua state and for tasks on other threads.
---
--- Expected outcomes are returned, so that `assert` works on them; misuse raises at the caller's line. Times are in
--- seconds: nil is for ever, 0 looks once. All objects may be used from any Lua state of the process that has a handle.
---@class waitgroup
---@field _VERSION string the version of the library
local waitgroup = {}

--- A count of things that have not happened yet.
---@class waitgroup.WaitGroup
local WaitGroup = {}

--- Add to the count. Raises, and changes nothing, if it would leave 0 to 2147483647.
---@param n? integer how many; may be negative; default 1
function WaitGroup:add(n) end

--- Take one from the count. Raises, and changes nothing, if it is 0.
function WaitGroup:done() end

--- The count just now.
---@return integer count the count
function WaitGroup:count() end

--- Wait until the count has been zero at, or at any time after, this call. In a coroutine task it yields; elsewhere it
--- runs the coroutine tasks of this state meanwhile, or blocks the thread if there are none.
---@async
---@param timeout? number seconds
---@param context? waitgroup.Context whose end ends the wait; default: that of the running task
---@return true? ok true, or nil
---@return string? why "timeout", "cancelled" or "deadline exceeded"
---@return any cause the cause of the context's end
function WaitGroup:wait(timeout, context) end

--- Add one, run a function as a coroutine task, and take one when it ends, however it ends. Its error goes to
--- `waitgroup.on_error`.
---@param fn function called with the arguments
---@param ... any its arguments
function WaitGroup:go(fn, ...) end

--- Wait for the count; then the handle is closed. `local wg <close>` does so at the end of the block.
---@async
function WaitGroup:close() end

--- An integer by which `attach` finds the object in another Lua state or language of the process. It does not keep the object.
---@return integer id the id
function WaitGroup:id() end

--- A file descriptor, readable once the count has been zero. A later call at a count that is not zero arms it anew.
---@return integer fd never to be read or closed
function WaitGroup:pollfd() end

--- The same, for copas.
---@return integer fd never to be read or closed
function WaitGroup:getfd() end

--- For cqueues: what to poll the descriptor for.
---@return string events "r"
function WaitGroup:events() end

--- For cqueues: no timeout of its own.
---@return nil none nil
function WaitGroup:timeout() end

--- Tasks that belong together: coroutines of this state, and functions on other threads. The first error cancels the
--- rest.
---@class waitgroup.ErrGroup
local ErrGroup = {}

--- Run a function as a coroutine task. At the limit it waits for room, once the backlog is full.
---@async
---@param fn function called with the arguments
---@param ... any its arguments
---@return waitgroup.Task? task the task, or nil
---@return string? why "cancelled", "deadline exceeded" or "finished"
---@return any cause the cause of the cancellation
function ErrGroup:go(fn, ...) end

--- The same, but it never waits.
---@param fn function called with the arguments
---@param ... any its arguments
---@return waitgroup.Task? task the task, or nil
---@return string? why as of `go`, or "limit": there is no room now
---@return any cause the cause of the cancellation
function ErrGroup:try_go(fn, ...) end

--- Run a function on another thread, in a Lua state of its own, with the globals of that, whatever its `_ENV` was. The
--- function, its upvalues, the arguments and the results are copied: nil, booleans, numbers, strings, light userdata, tables
--- with their metatables, Lua functions, and whatever has a `__copy` in its metatable. C functions of modules, modules
--- that are upvalues, and our own objects are the same there. Anything else raises, by its place. At the limit it waits
--- for room.
---@async
---@param fn function|string a Lua function, or the name of a module
---@param ... any its arguments; after a module: the name of its function, or nil if it is one itself, and the arguments
---@return waitgroup.Task? task the task, or nil
---@return string? why "cancelled", "deadline exceeded" or "finished"
---@return any cause the cause of the cancellation
function ErrGroup:thread(fn, ...) end

--- The same, but it never waits.
---@param fn function|string a Lua function, or the name of a module
---@param ... any as of `thread`
---@return waitgroup.Task? task the task, or nil
---@return string? why as of `thread`, or "limit": there is no room now
---@return any cause the cause of the cancellation
function ErrGroup:try_thread(fn, ...) end

--- What `start` is told: the function or the name of a module, then the arguments, and by name:
---@class waitgroup.Start
---@field name? string of the task, in its texts, in errors and in dumps, without zero bytes; default: that of its function
---@field thread? boolean true: run it as `thread` does; default: as `go` does
---@field try? boolean true: never wait for room
---@field n? integer how many elements there are, if the last arguments are nil
---@field [integer] any the function or the name of a module, then the arguments

--- Run a task, which may have a name: `g:start { fetch, url, name = url, thread = true }`. Raises as `go` and `thread`, and
--- for a field that it does not know.
---@async
---@param spec waitgroup.Start the function, its arguments, name, thread, try, n
---@return waitgroup.Task? task the task, or nil
---@return string? why as of `go`; with `try` also "limit": there is no room now
---@return any cause the cause of the cancellation
function ErrGroup:start(spec) end

--- Run `fn(item)` for each item of a list as a coroutine task, and wait for these tasks.
---@async
---@param fn function called with one item
---@param list any[] the items
---@return table? results what each returned first, in the order of the list, and their number as `n`; or nil
---@return any err the error of the first task of the list that failed; or as of `go`
---@return any traceback of the error; or the cause
function ErrGroup:map(fn, list) end

--- The same on threads: see `thread`.
---@async
---@param fn function|string a Lua function, or the name of a module that is one
---@param list any[] the items, which are copied
---@return table? results as of `map`
---@return any err as of `map`
---@return any traceback as of `map`
function ErrGroup:thread_map(fn, list) end

--- For `for task in g:as_completed(tasks) do`: the tasks in the order in which they end. A group keeps none of its tasks, so
--- it is given them. Without a list it gives each task that this state starts in the group from the call on, and the coroutine
--- tasks that have not ended, until none is left; it raises if others have ended or gone to threads before, unless such a loop
--- has given them. Ends early with the context of the running task. A loop that is left early leaves nothing behind that waits.
---@param tasks? waitgroup.Task[] what `go` and `thread` returned
---@return fun(): waitgroup.Task?, integer? next waits for the next one; then its index in the list, or its number
---@return nil
---@return nil
---@return table closing what the loop closes, however it is left
function ErrGroup:as_completed(tasks) end

--- Wait until every task has ended, or the grace period is over, and give the outcome, which stays: the group takes no
--- more tasks. The end of the running task's context ends the wait, which is then no outcome. Raises in a task of this
--- group, and when nothing can ever run again.
---@async
---@param timeout? number seconds; a wait that times out gives no outcome
---@return true? ok true, or nil
---@return any err the first error as it was thrown; or "timeout", "cancelled", "deadline exceeded"
---@return any traceback of the error; or the cause. After a grace period also the names of the tasks left behind, then
---  as the fourth result if there is a cause
function ErrGroup:wait(timeout) end

--- Cancel the group. Without a cause it is a stop, not an error. Callbacks of this state run before it returns.
---@param cause? any what waits will give as the cause
---@return boolean first whether this call did it
function ErrGroup:cancel(cause) end

--- The context of its tasks.
---@return waitgroup.Context context ends with the group
function ErrGroup:context() end

--- The errors of tasks so far, in the order in which they failed.
---@return any[] errors as they were thrown
function ErrGroup:errors() end

--- How many tasks run.
---@return integer count coroutine tasks count as running
function ErrGroup:running() end

--- How many tasks wait for a thread, or in the backlog for a slot.
---@return integer count of thread tasks, and of coroutine tasks of this state
function ErrGroup:pending() end

--- How many tasks have ended.
---@return integer count of both kinds
function ErrGroup:completed() end

--- The limit.
---@return integer? limit nil for none
function ErrGroup:limit() end

--- How many tasks may be queued ahead of the slots.
---@return integer count 0 for none
function ErrGroup:backlog() end

--- Change the limit, also while tasks run.
---@param limit? integer positive, or nil for none
function ErrGroup:set_limit(limit) end

--- Its name.
---@return string name empty if it has none
function ErrGroup:name() end

--- For a coroutine that is not a task, such as one of cqueues or copas: from now on it counts as a task of the group,
--- until it calls `leave`. At the limit it waits for room.
---@async
---@return true? ok true, or nil
---@return string? why "cancelled", "deadline exceeded" or "finished"
---@return any cause the cause of the cancellation
function ErrGroup:enter() end

--- The same, but it never waits.
---@return true? ok true, or nil
---@return string? why as of `enter`, or "limit": there is no room now
---@return any cause the cause of the cancellation
function ErrGroup:try_enter() end

--- What has entered the group ends. Raises if nothing of this Lua state is in it that has entered.
---@param err? any the error with which it ends; nil: it has succeeded
function ErrGroup:leave(err) end

--- Cancel if there is an error, wait, and close the handle. `local g <close>` does so at the end of the block. In a
--- coroutine task it yields, also when the block ends by an error (from Lua 5.4.3 on). A second call is harmless.
---@async
---@param err? any cancels the group, as its cause
---@return true? ok as of `wait`
---@return any err as of `wait`
---@return any traceback as of `wait`
function ErrGroup:close(err) end

--- An integer by which `attach` finds the object in another Lua state or language of the process. It does not keep the object.
---@return integer id the id
function ErrGroup:id() end

--- A file descriptor, readable once no task is unfinished. Asked for in a coroutine of cqueues or copas, or by a program
--- that uses luv, coroutine tasks run in that loop from then on, also if nobody waits for them.
---@return integer fd never to be read or closed
function ErrGroup:pollfd() end

--- The same, for copas.
---@return integer fd never to be read or closed
function ErrGroup:getfd() end

--- For cqueues: what to poll the descriptor for.
---@return string events "r"
function ErrGroup:events() end

--- For cqueues: no timeout of its own.
---@return nil none nil
function ErrGroup:timeout() end

--- Says "stop now" to all that refer to it, with a cause, a deadline, and children that end with it.
---@class waitgroup.Context
local Context = {}

--- End the context and its children; the first call wins. Callbacks of this state run before it returns.
---@param cause? any what `err` gives from then on
---@return boolean first whether this call did it
function Context:cancel(cause) end

--- Whether it has ended. Cheap enough for an inner loop.
---@return boolean ended true once it has
function Context:cancelled() end

--- Why it has ended.
---@return string? why "cancelled" or "deadline exceeded"; nil while it lives
---@return any cause the cause, if there is one
function Context:err() end

--- Raise "cancelled" or "deadline exceeded" if it has ended. A task that lets this pass has stopped, not failed.
function Context:check() end

--- Sleep until it ends.
---@async
---@param timeout? number seconds
---@return true? ok true: it has ended
---@return string? why "timeout"; or "cancelled" or "deadline exceeded", if the context of the running task ended first
---@return any cause of the latter
function Context:wait(timeout) end

--- How long it is to its deadline, its own or an ancestor's.
---@return number? seconds never below 0; nil if it has none
function Context:remaining() end

--- Call a function once when it ends: in this state, before `cancel` returns, when somebody next waits, or when the thread task
--- that set it ends. A context that nothing can reach any more is gone, with its callbacks.
---@param fn function called without arguments; its error goes to `waitgroup.on_error`
---@return function stop prevents the call: true if it did
function Context:on_cancel(fn) end

--- End it; then the handle is closed. `local ctx <close>` does so at the end of the block.
---@param cause? any as of `cancel`
function Context:close(cause) end

--- An integer by which `attach` finds the object in another Lua state or language of the process. It does not keep the object.
---@return integer id the id
function Context:id() end

--- A file descriptor that becomes readable when it ends.
---@return integer fd never to be read or closed
function Context:pollfd() end

--- The same, for copas and luasocket.
---@return integer fd never to be read or closed
function Context:getfd() end

--- For cqueues: what to poll the descriptor for.
---@return string events "r"
function Context:events() end

--- For cqueues: no timeout of its own.
---@return nil none nil
function Context:timeout() end

--- A task of an error group.
---@class waitgroup.Task
local Task = {}

--- Wait until it has ended, and give its results. Raises in the task itself.
---@async
---@param timeout? number seconds
---@return true? ok true and its results; or nil
---@return any err its error as it was thrown; or "timeout", "cancelled", "deadline exceeded"
---@return any traceback of its error; or the cause
function Task:result(timeout) end

--- Its results, after a wait; its error is raised as it was thrown. Also raises "timeout", "cancelled" or "deadline
--- exceeded", where `result` returns them.
---@async
---@param timeout? number seconds
---@return any ... its results
function Task:get(timeout) end

--- Whether it has ended.
---@return boolean done true once it has
function Task:done() end

--- Whether it never started or stopped because its group was cancelled.
---@return boolean cancelled false while it runs
function Task:cancelled() end

--- Where its function is.
---@return string name "file:line", or "module.function"
function Task:name() end

--- Values on their way from one coroutine, thread or state to another.
---@class waitgroup.Channel
local Channel = {}

--- Send a copy of a value, as arguments of thread tasks are copied. Without room it waits, in the order of coming, until
--- somebody receives, the channel is closed, or the context of the running task ends. Raises if the value cannot cross, and
--- when nothing is left that could receive.
---@async
---@param value any except nil
---@param timeout? number seconds
---@return true? ok true, or nil
---@return string? why "closed", "timeout", "cancelled" or "deadline exceeded"
---@return any cause the cause of the context's end
function Channel:send(value, timeout) end

--- Receive the value that was sent first; wait for one as `send` waits for room.
---@async
---@param timeout? number seconds
---@return any value the value, or nil
---@return string? why "closed": it is, and holds no more; "timeout", "cancelled" or "deadline exceeded"
---@return any cause the cause of the context's end
function Channel:receive(timeout) end

--- For `for value in ch:each() do`: receive until there is no more, or the context of the running task ends.
---@return fun(ch: waitgroup.Channel): any next receives
---@return waitgroup.Channel ch the channel
function Channel:each() end

--- Close it, for all: nothing can be sent any more, and what it holds can still be received. Whoever waits is woken.
--- `local ch <close>` does so at the end of the block.
---@return boolean open whether this call did it
function Channel:close() end

--- How many values it holds.
---@return integer count without those that still wait to be sent
function Channel:count() end

--- Whether it is closed.
---@return boolean closed true once it is
function Channel:closed() end

--- An integer by which `attach` finds the object in another Lua state or language of the process. It does not keep the object.
---@return integer id the id
function Channel:id() end

--- A file descriptor, readable while a receive would not wait. Call it anew before each poll, which arms it.
---@return integer fd never to be read or closed
function Channel:pollfd() end

--- The same, for copas.
---@return integer fd never to be read or closed
function Channel:getfd() end

--- For cqueues: what to poll the descriptor for.
---@return string events "r"
function Channel:events() end

--- For cqueues: no timeout of its own.
---@return nil none nil
function Channel:timeout() end

--- A new wait group.
---@param n? integer its count; default 0
---@return waitgroup.WaitGroup wg the wait group
function waitgroup.new(n) end

--- What `waitgroup.errgroup` can be told.
---@class waitgroup.ErrGroupOptions
---@field limit? integer how many tasks may be unfinished at once
---@field timeout? number seconds after which the group is cancelled
---@field grace? number seconds that a wait gives tasks to end once the group is cancelled
---@field context? waitgroup.Context cancels the group with itself; default: that of the running task
---@field backlog? integer how many more tasks may be queued ahead of the slots before `go` and `thread` wait; default 0
---@field name? string for messages, without zero bytes
---@field on_error? string "continue": a failed task does not cancel the others; default "cancel"
---@field interrupt? integer thread tasks that only compute are stopped too: they look every so many instructions

--- A new error group, for one use.
---@param options? waitgroup.ErrGroupOptions limit, backlog, timeout, grace, context, name, on_error, interrupt
---@return waitgroup.ErrGroup group the group
function waitgroup.errgroup(options) end

--- What `waitgroup.context` can be told.
---@class waitgroup.ContextOptions
---@field parent? waitgroup.Context ends this one with itself; default: the context of the running task
---@field timeout? number seconds

--- A new context.
---@param options? waitgroup.ContextOptions parent, timeout
---@return waitgroup.Context context the context
function waitgroup.context(options) end

--- A new channel.
---@param capacity? integer how many values it holds before `send` waits; default 0: each is handed over
---@return waitgroup.Channel channel the channel
function waitgroup.channel(capacity) end

--- Send or receive, whichever of several channels can first: the first case that can go on at once, else the one that
--- somebody serves first.
---@async
---@param cases table a list of channels to receive from, and of { channel, value } to send; `timeout`: seconds
---@return integer? index of the case; nil: none
---@return any value what was received, true if it was sent, nil if that channel is closed; or "timeout", "cancelled",
---  "deadline exceeded"
---@return any why "closed"; or the cause of the context's end
function waitgroup.select(cases) end

--- The root of all contexts, which never ends. As a parent it detaches from the running task.
---@return waitgroup.Context context the root
function waitgroup.root() end

--- The object of this process with an id that `id()` gave, in any Lua state. Raises if there is none, or if it was
--- closed in this state.
---@param id integer the id
---@param kind? string "waitgroup", "errgroup", "context" or "channel": raise if it is something else
---@return waitgroup.WaitGroup|waitgroup.ErrGroup|waitgroup.Context|waitgroup.Channel object a handle of this state
function waitgroup.attach(id, kind) end

--- Wait for any of several tasks. Raises if there is none in the list. Nothing is left behind that waits, whatever came first.
---@async
---@param tasks waitgroup.Task[] what `go` and `thread` returned
---@param timeout? number seconds
---@return waitgroup.Task? task the first that has ended, or nil
---@return integer|string index of it; or "timeout", "cancelled", "deadline exceeded"
---@return any cause of the end of the running task's context
function waitgroup.wait_any(tasks, timeout) end

--- How many processor cores this process may use: a good limit for tasks that compute.
---@return integer count at least 1
function waitgroup.cores() end

--- Sleep. The end of the running task's context ends it.
---@async
---@param seconds? number how long; nil: until the context ends
---@return true? ok true, or nil
---@return string? why "cancelled" or "deadline exceeded"
---@return any cause the cause of the cancellation
function waitgroup.sleep(seconds) end

--- Let other tasks run. (`coroutine.yield` in a task is for another event loop, see `use`; without one it is an error.)
---@async
---@return true? ok true; or nil if the running task's context has ended
---@return string? why "cancelled" or "deadline exceeded"
---@return any cause the cause of the cancellation
function waitgroup.yield() end

--- The context of the running task, in coroutines and on threads.
---@return waitgroup.Context? context nil outside of tasks
function waitgroup.current_context() end

--- Run a function as a coroutine task, and wait until it and all that it started have ended.
---@async
---@param fn function called with the arguments
---@param ... any its arguments
---@return true? ok true and its results; or nil
---@return any err its error as it was thrown
---@return any traceback of its error
function waitgroup.run(fn, ...) end

--- Set what is called with errors that nobody waits for: of tasks of plain wait groups, and of callbacks.
---@param fn? function called with the error and its traceback; nil: both go to the standard error stream
---@return function? old what was set before
function waitgroup.on_error(fn) end

--- An adapter for another event loop.
---@class waitgroup.Adapter
---@field here fun(): boolean whether the running coroutine is one of the loop
---@field wait fun(fd: integer) yields to the loop until the descriptor is readable
---@field spawn? fun(fn: function): boolean starts a coroutine of the loop; false if that cannot be done now
---@field forward? fun(resume: function, ...) yields the values in a new coroutine of the loop, and calls `resume` with what
---  the loop resumes that with; without it, whoever resumes the coroutine of a task that has yielded goes on with the task

--- Write who waits for whom in this process to an open file, or to standard error: groups of all languages, their tasks and
--- waits, the pools, and where this state is. What is stuck comes first. Raises if `file` is no open file.
---@param file? file*
function waitgroup.dump(file) end

--- A timeline that is being written.
---@class waitgroup.Timeline
local Timeline = {}

--- Complete the file: what has not ended is in it, as "unfinished". True; or nil and why, if some of it could not be written.
--- A second time nothing happens. `local t <close> = waitgroup.trace(file)` does it at the end of the block.
---@return true?
---@return string? why
function Timeline:close() end

--- Write the timeline of this process to the file of this name, until it is closed: tasks of all languages by thread, with
--- group, time in the queue, outcome and error; waits that slept; cancellations; groups. Chrome trace events, which Perfetto
--- (ui.perfetto.dev), chrome://tracing and vizviewer open. WAITGROUP_TRACE=FILE in the environment does the same for the whole
--- run of a program. Raises if a timeline is being written already; returns nil and why, if the file cannot be written.
---@param file string
---@return waitgroup.Timeline?
---@return string? why
---@nodiscard
function waitgroup.trace(file) end

--- Write groups, tasks, waits and pools to standard error whenever the signal comes, also in a busy loop: a number, "USR1",
--- "USR2" or "QUIT". It replaces the handler of the signal. Raises if the signal cannot be caught.
---@param signal integer|string
function waitgroup.dump_on_signal(signal) end

--- Another event loop is in use from now on. Waits in its coroutines yield to it; tasks run in it, also if nobody waits for
--- them; and what a task yields otherwise than by a wait of ours goes to it, so that tasks may use its sleeps and sockets.
---@param loop? string|waitgroup.Adapter "cqueues", "copas", "luv", "haproxy", "prosody", or an adapter; nil: none
function waitgroup.use(loop) end

return waitgroup
