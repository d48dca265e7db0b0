// SPDX-License-Identifier: BSD-3-Clause

import { mkdir, readFile } from 'node:fs/promises';
import type Docker from 'dockerode';
import { execa } from 'execa';
import { Daemon } from '../../runtime/testing/daemon.ts';
import { imageNames } from '../task-images.ts';
import { Machine } from './machine.ts';

export interface MachineEngineOptions {
  readonly name: string;
  /** Of its own, and short. */
  readonly directory: string;
  readonly dataRoot: string;
  /** A program that is to start dockerd, with its arguments. */
  readonly through?: readonly string[];
  readonly arguments?: readonly string[];
}

/** A container engine on a machine of its own, as far as it can see. Disposing ends it in order, `machine`'s as a power cut does. */
export class MachineEngine implements AsyncDisposable {
  readonly machine: Machine;
  readonly docker: Docker;
  readonly address: string;
  readonly #daemon: Daemon;
  /** At the start. */
  readonly #images: readonly string[];

  private constructor(machine: Machine, daemon: Daemon, docker: Docker, images: readonly string[]) {
    this.machine = machine;
    this.#daemon = daemon;
    this.docker = docker;
    this.#images = images;
    this.address = daemon.address;
  }

  /** Rejects where namespaces cannot be made, and with `NoDaemonError`. */
  static async start(options: MachineEngineOptions): Promise<MachineEngine> {
    const machine = await Machine.start(options.name);
    try {
      return await MachineEngine.#on(machine, options);
    } catch (error) {
      await machine[Symbol.asyncDispose]();
      throw error;
    }
  }

  static async #on(machine: Machine, options: MachineEngineOptions): Promise<MachineEngine> {
    const { directory, dataRoot, through = [] } = options;
    await mkdir(directory, { recursive: true });
    const { daemon, engine } = await Daemon.start({
      directory,
      dataRoot,
      through: [...machine.through, ...through],
      arguments: options.arguments ?? [],
      // nsenter(1) waits for it, and passes no signals on.
      stop: async (pidFile) => {
        const [enter, ...words] = machine.through;
        await execa(enter, [...words, 'kill', '-TERM', (await readFile(pidFile, 'utf8')).trim()]);
      },
    });
    // Of one that was killed.
    for (const { Id } of await engine.docker.listContainers({ all: true }))
      await engine.docker.getContainer(Id).remove({ force: true });
    return new MachineEngine(machine, daemon, engine.docker, await imageNames(engine.docker));
  }

  /** What another has come in the place of since the start: the next test needs the latest alone. */
  async removeOldImages(): Promise<void> {
    const repository = (image: string) => image.split(':')[0];
    const images = await imageNames(this.docker);
    const renewed = new Set(images.filter((image) => !this.#images.includes(image)).map(repository));
    const old = this.#images.filter((image) => images.includes(image) && renewed.has(repository(image)));
    // One that others are made from stays with them.
    for (const image of old)
      await this.docker
        .getImage(image)
        .remove()
        .catch(() => undefined);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#daemon[Symbol.asyncDispose]();
    await this.machine[Symbol.asyncDispose]();
  }
}
