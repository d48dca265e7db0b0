// SPDX-License-Identifier: BSD-3-Clause

import { openGateway } from './gateway.ts';

// The program of a run's gateway: gateway-main.ts HOST PORT SOCKET-FILE. It is ended from outside.

const [host, port, socketFile] = process.argv.slice(2);
await openGateway({ host, port: Number(port), socketFile });
